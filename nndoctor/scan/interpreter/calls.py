"""Calls: arguments, functions of the project followed to a bounded depth, and the memo that spares repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import builtin_calls, containers, layers, library, objects, statements, subscripts, training
from nndoctor.scan.interpreter.heap import ABSENT
from nndoctor.scan.interpreter.machine import MAX_DEPTH, MAX_IN_FUNCTION, RETURN, Frame, Machine
from nndoctor.scan.values import (
    NONE,
    Api,
    Choice,
    Class,
    Const,
    Container,
    Function,
    Instance,
    Lib,
    Method,
    Module,
    Scope,
    Term,
    Tuple,
    Value,
)

MAX_ACTIVATIONS = 2  # of one function at the same time: enough to see what recursion passes on
MEMO_READS = 400  # a call that read more cells than this is cheaper to repeat than to check


class Arguments:
    """The evaluated arguments of a call; `open` says that unknown ones may follow (`*args`, `**kwargs`)."""

    __slots__ = ("keywords", "open", "positional")

    def __init__(self, positional: tuple[Value, ...] = (), keywords: dict[str, Value] | None = None) -> None:
        self.positional = positional
        self.keywords = keywords or {}
        self.open = False

    def get(self, index: int, name: str) -> Value | None:
        """The argument at a position or of a name."""
        found = self.keywords.get(name)
        if found is None and 0 <= index < len(self.positional):
            return self.positional[index]
        return found

    @property
    def all(self) -> tuple[Value, ...]:
        """Every argument value."""
        return (*self.positional, *self.keywords.values())


def evaluate_call(run: Machine, node: cst.Call) -> Value:
    """Evaluate a call expression."""
    func = node.func
    if type(func) is cst.Attribute:
        receiver = run.resolve(run.dispatch[type(func.value)](run, func.value))
        args = _arguments(run, node)
        result = call_method(run, receiver, func.attr.value, args, node)
        if func.attr.value.endswith("_") and type(func.value) is cst.Name and type(receiver) is Term is type(result):
            _in_place(run, func, result)
        return result
    callee = run.dispatch[type(func)](run, func)
    args = _arguments(run, node)
    return call_value(run, callee, args, node)


def _in_place(run: Machine, func: cst.Attribute, result: Value) -> None:
    """`x.clamp_(...)`: the name means the changed tensor from now on."""
    if torch_api.method_operation(func.attr.value) is not None and type(func.value) is cst.Name:
        run.assign(func.value.value, result)


def _arguments(run: Machine, node: cst.Call) -> Arguments:
    positional: list[Value] = []
    args = Arguments()
    dispatch = run.dispatch
    for arg in node.args:
        value = dispatch[type(arg.value)](run, arg.value)
        if arg.keyword is not None:
            args.keywords[arg.keyword.value] = value
        elif arg.star == "":
            positional.append(value)
        elif arg.star == "*":
            _spread(run, args, positional, value)
        else:
            _spread_keywords(run, args, value)
    args.positional = tuple(positional)
    return args


def _spread(run: Machine, args: Arguments, positional: list[Value], value: Value) -> None:
    items = containers.known_items(run, value)
    if items is None:
        args.open = True
        positional.append(run.pure("spread", value))
    else:
        positional.extend(items)


def _spread_keywords(run: Machine, args: Arguments, value: Value) -> None:
    if type(value) is Container and value.kind == "dict":
        args.keywords.update({k: v for k, v in run.read(value.attrs, "$items").items() if isinstance(k, str)})
        args.open = args.open or run.read(value.attrs, "$rest") is not None
    else:
        args.open = True


def call_method(run: Machine, receiver: Value, name: str, args: Arguments, node: cst.CSTNode) -> Value:
    """`receiver.name(args)`."""
    kind = type(receiver)
    if kind is Term:
        return library.term_method(run, receiver, name, args, node)
    if kind is Choice:
        return run.each(receiver, lambda leaf: call_method(run, leaf, name, args, node))
    if kind is Api:
        return library.call_api(run, run.api(f"{receiver.name}.{name}"), args, node)
    if kind is Container or kind is Tuple:
        return subscripts.method(run, receiver, name, args, node)
    if kind is Lib:
        return library.lib_method(run, receiver, name, args, node)
    if kind is Instance or kind is Module or kind is Class or kind is Function:
        callee = objects.get_attribute(run, receiver, name, node)
        return call_value(run, callee, args, node)
    return builtin_calls.other_method(run, receiver, name, args, node)


def call_value(run: Machine, callee: Value, args: Arguments, node: cst.CSTNode) -> Value:
    """Call any value."""
    callee = run.resolve(callee)
    kind = type(callee)
    if kind is Function:
        if callee.name == "forward" and training.is_module(callee.receiver):
            return training.forward(run, callee.receiver, callee, args, node)
        return call_function(run, callee, args, node)
    if kind is Api:
        return library.call_api(run, callee, args, node)
    if kind is Class:
        return objects.instantiate(run, callee, args, node)
    if kind is Instance:
        return call_instance(run, callee, args, node)
    if kind is Lib:
        return layers.call(run, callee, args, node)
    if kind is Method:
        return _call_bound(run, callee, args, node)
    if kind is Choice:
        return run.each(callee, lambda leaf: call_value(run, leaf, args, node))
    if kind is Term and callee.op == "partial":
        return _call_partial(run, callee, args, node)
    if kind is Term and training.is_model(callee):
        result = unknown_call(run, callee, args, node)
        return training.noted_forward(run, callee, result, args, node)
    if kind is Term and callee.op == "context" and args.positional and type(args.positional[0]) is Function:
        return training.decorated(args.positional[0], callee)
    if callee is ABSENT:
        return args.positional[0] if args.positional else NONE
    return unknown_call(run, callee, args, node)


def _call_partial(run: Machine, partial: Term, args: Arguments, node: cst.CSTNode) -> Value:
    given: Arguments = partial.info["args"] if partial.info is not None else Arguments()
    if not given.positional:
        return unknown_call(run, partial, args, node)
    whole = Arguments((*given.positional[1:], *args.positional), {**given.keywords, **args.keywords})
    whole.open = given.open or args.open
    return call_value(run, given.positional[0], whole, node)


def _call_bound(run: Machine, method: Method, args: Arguments, node: cst.CSTNode) -> Value:
    receiver = method.receiver
    if type(receiver) is Instance:
        return library.instance_method(run, receiver, method.name, args, node)
    if type(receiver) in (Function, Class, Module):
        return unknown_call(run, receiver, args, node)
    return call_method(run, receiver, method.name, args, node)


def call_instance(run: Machine, instance: Instance, args: Arguments, node: cst.CSTNode) -> Value:
    """`object(...)`: the forward of a module, or `__call__`."""
    own = instance.cls.find("__call__")
    if type(own) is Function:
        return call_function(run, own.bind(instance), args, node)
    forward = instance.cls.find("forward")
    if type(forward) is Function and (instance.cls.is_module or "?" in instance.cls.roots):
        return training.forward(run, instance, forward.bind(instance), args, node)
    return unknown_call(run, instance, args, node)


def unknown_call(run: Machine, callee: Value, args: Arguments, node: cst.CSTNode) -> Term:
    """A call that cannot be followed: it may do anything to the objects it is given."""
    for value in args.all:
        training.escape(run, value)
    return run.term("call", (callee, *args.all), node)


def call_function(run: Machine, function: Function, args: Arguments, node: cst.CSTNode) -> Value:
    """Follow a function of the project; from the memo if nothing that it read has changed."""
    run.called.add(id(function.node))
    if any(type(d) is Api and d.name in _CONTEXT_MANAGERS for d in function.decorators):
        return Term("context manager", info={"function": function, "args": args})
    if len(run.frames) >= MAX_DEPTH or _active(run, function) >= MAX_ACTIVATIONS or _is_exhausted(run, function):
        return unknown_call(run, function, args, node)
    key = (id(function.node), id(function.scope), id(function.receiver), _keys(run, args), id(run.grad), id(run.amp))
    remembered = run.memo.get(key)
    if remembered is not None and _still_holds(run, remembered):
        _reread(run, remembered)
        result = remembered.result
    else:
        result = _remember(run, key, function, args)
    return training.returned(run, function, result, node)


class Remembered:
    """A followed call, and what it depended on."""

    __slots__ = ("args", "clock", "consulted", "reads", "result")

    def __init__(self, result: Value, args: Any, clock: int, reads: set[Any], consulted: set[Any]) -> None:
        self.result = result
        self.args = args  # keeps the arguments alive, so that their ids stay theirs
        self.clock = clock
        self.reads = reads
        self.consulted = consulted


def _still_holds(run: Machine, call: Remembered) -> bool:
    written, clock = run.written, call.clock
    for cell in call.reads:
        if written.get(cell, 0) > clock:
            return False
    assumed = run.assumed
    return all(assumed.get(guard) is truth for guard, truth in call.consulted)


def _reread(run: Machine, call: Remembered) -> None:
    if run.reads is not None:
        run.reads |= call.reads
    if run.consulted is not None:
        run.consulted |= call.consulted


def _remember(run: Machine, key: Any, function: Function, args: Arguments) -> Value:
    reads, consulted, oldest = run.reads, run.consulted, run.oldest_write
    run.reads, run.consulted = set(), set()
    start = run.clock
    run.oldest_write = start + 1
    result = follow(run, function, args)
    if run.oldest_write > start and len(run.reads) <= MEMO_READS and not _is_made(run, result, start):
        run.memo[key] = Remembered(result, (function, args), run.clock, run.reads, run.consulted)
    if reads is not None:
        reads |= run.reads
    if consulted is not None:
        consulted |= run.consulted
    run.oldest_write = min(oldest, run.oldest_write)
    run.reads, run.consulted = reads, consulted
    return result


def _is_made(run: Machine, value: Value, start: int) -> bool:
    """Whether a value is or holds an object that was made since `start`: another call makes another one."""
    kind = type(value)
    if kind is Container or kind is Instance or kind is Lib:
        return run.births.get(id(value.attrs), 0) > start
    if kind is Tuple:
        return any(_is_made(run, item, start) for item in value.items)
    return kind is Choice and any(_is_made(run, leaf, start) for leaf in run.leaves(value))


_CONTEXT_MANAGERS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})


def run_context_manager(run: Machine, manager: Term, body: Callable[[Value], None]) -> None:
    """Run a generator function of `contextlib.contextmanager`, with the body of the `with` where it yields."""
    assert manager.info is not None
    caller = list(run.frames)

    def on_yield(value: Value) -> None:
        inner, run.frames = run.frames, caller
        body(value)
        run.frames = inner

    follow(run, manager.info["function"], manager.info["args"], on_yield)


def _is_exhausted(run: Machine, function: Function) -> bool:
    return run.spent.get(id(function.node), 0) > MAX_IN_FUNCTION


def _active(run: Machine, function: Function) -> int:
    return sum(1 for frame in run.frames if frame.function is not None and frame.function.node is function.node)


def _keys(run: Machine, args: Arguments) -> Any:
    return (
        args.open,
        *(_key(value) for value in args.positional),
        *((name, _key(value)) for name, value in args.keywords.items()),
    )


def _key(value: Value) -> Any:
    if type(value) is Const and isinstance(value.value, str | int | float | bool | type(None)):
        return (type(value.value), value.value)
    if type(value) is Tuple:
        return tuple(_key(item) for item in value.items)
    return id(value)


def follow(
    run: Machine, function: Function, args: Arguments, on_yield: Callable[[Value], None] | None = None
) -> Value:
    """Run a function's body on these arguments and return what it returns."""
    names: dict[str, Any] = {}
    frame = Frame(function.source, Scope(names, function.scope), len(run.frames), function)
    frame.receiver, frame.on_yield = function.receiver, on_yield
    _bind_parameters(run, function, args, names)
    saved = run.assumed, run.grad, run.amp
    run.assumed = dict(run.assumed)
    run.frames.append(frame)
    training.enter_function(run, function)
    before = run.statements
    try:
        value = _run_body(run, function, frame)
    finally:
        run.frames.pop()
        _account(run, function, frame, run.statements - before)
        run.assumed, run.grad, run.amp = saved
    return value


def _account(run: Machine, function: Function, frame: Frame, statements: int) -> None:
    """Charge a function with the statements that it ran itself."""
    key = id(function.node)
    run.spent[key] = run.spent.get(key, 0) + 1 + statements - frame.inner
    if run.frames:
        run.frames[-1].inner += statements


def _run_body(run: Machine, function: Function, frame: Frame) -> Value:
    body = function.node.body
    if type(function.node) is cst.Lambda:
        return run.dispatch[type(body)](run, body)
    statements.run_suite(run, body)
    run.meet(0, (RETURN,))
    while frame.pending:
        frame.pending.pop()
        run.release()
    if frame.yields:
        return Term("generator", (_joined(run, [(value, None, {}) for value in frame.yields]),))
    if not frame.results:
        return NONE
    return _joined(run, frame.results)


def _joined(run: Machine, results: list[Any]) -> Value:
    """What a function returns, of all the values that its paths return."""
    value = results[-1][0]
    for other, _, assumed in reversed(results[:-1]):
        guard = next(reversed(assumed), None)
        truth = assumed.get(guard) if guard is not None else True
        guard = guard or Term("branch")
        value = run.merged(guard, other, value) if truth else run.merged(guard, value, other)
    return value


def _bind_parameters(run: Machine, function: Function, args: Arguments, names: dict[str, Any]) -> None:
    parameters = function.node.params
    positional = list(args.positional)
    if function.receiver is not None:
        positional.insert(0, function.receiver)
    keywords = dict(args.keywords)
    for parameter in (*parameters.posonly_params, *parameters.params):
        name = parameter.name.value
        names[name] = positional.pop(0) if positional else keywords.pop(name, None) or _default(function, name, args)
    star = parameters.star_arg
    if type(star) is cst.Param:
        names[star.name.value] = Tuple(tuple(positional))
    for parameter in parameters.kwonly_params:
        name = parameter.name.value
        names[name] = keywords.pop(name, None) or _default(function, name, args)
    if parameters.star_kwarg is not None:
        rest = Term("unknown") if args.open else None
        names[parameters.star_kwarg.name.value] = run.born(Container("dict", keywords, rest))


def _default(function: Function, name: str, args: Arguments) -> Value:
    """The default of a parameter, unless unknown arguments may have been passed for it."""
    found = None if args.open else function.defaults.get(name)
    return found if found is not None else parameter_term(function, name)


def parameter_term(function: Function, name: str) -> Value:
    """The unknown value of a parameter; the same one each time the function is run without it."""
    found = function.attrs.get(name)
    if found is None:
        found = function.attrs[name] = Term("parameter", (), function.source, function.node, None, {"name": name})
    return found


__all__ = ["Arguments", "Lib", "call_function", "call_method", "call_value", "evaluate_call", "follow", "unknown_call"]
