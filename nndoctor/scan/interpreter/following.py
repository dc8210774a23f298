"""Functions of the project, followed to a bounded depth, and the memo that spares repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import (
    calls,
    contexts,
    modes,
    noting,
    statements,
)
from nndoctor.scan.interpreter.frames import RETURN, Frame
from nndoctor.scan.interpreter.heap import Reads, same
from nndoctor.scan.interpreter.machine import MAX_DEPTH, MAX_IN_FUNCTION, Machine
from nndoctor.scan.values import (
    NONE,
    Api,
    Const,
    Container,
    Function,
    Scope,
    Term,
    Tuple,
    Value,
)

MAX_ACTIVATIONS = 2  # of one function at the same time: enough to see what recursion passes on

MEMO_VARIANTS = 3  # of a call with the same arguments: in train and in eval mode, and one more
MEMO_READS = 400  # a call that read more cells than this is cheaper to repeat than to check


def call_function(run: Machine, function: Function, args: calls.Arguments, node: cst.CSTNode) -> Value:
    """Follow a function of the project; from the memo if nothing that it read has changed."""
    run.called.add(id(function.node))
    if any(type(d) is Api and d.name in _CONTEXT_MANAGERS for d in function.decorators):
        return Term("context manager", info={"function": function, "args": args})
    if len(run.frames) >= MAX_DEPTH or _active(run, function) >= MAX_ACTIVATIONS or _is_exhausted(run, function):
        if function.name == "__init__":
            noting.initialised(run, function.receiver)
        return calls.unknown_call(run, function, args, node)
    bound = (id(function.node), id(function.scope), id(function.receiver), *map(id, function.defaults.values()))
    key = (bound, _keys(run, args), id(run.grad), id(run.amp))
    remembered = next((call for call in run.memo.get(key, ()) if _still_holds(run, call)), None)
    if remembered is not None:
        _reread(run, remembered)
        result = remembered.result
    else:
        result = _remember(run, key, function, args)
    return modes.returned(run, function, result, node)


class Remembered:
    """A followed call, and what it depended on."""

    __slots__ = ("args", "clock", "consulted", "reads", "result")

    def __init__(self, result: Value, args: Any, clock: int, reads: Reads, consulted: set[Any]) -> None:
        self.result = result
        self.args = args  # keeps the arguments alive, so that their ids stay theirs
        self.clock = clock
        self.reads = reads
        self.consulted = consulted


def _still_holds(run: Machine, call: Remembered) -> bool:
    written, clock = run.written, call.clock
    for cell, (cells, value) in call.reads.items():
        if written.get(cell, clock + 1) > clock and not same(cells.get(cell[1]), value):
            return False
    assumed = run.assumed
    return all(assumed.get(guard) is truth for guard, truth in call.consulted)


def _reread(run: Machine, call: Remembered) -> None:
    if run.reads is not None:
        run.reads |= call.reads
    if run.consulted is not None:
        run.consulted |= call.consulted


def _remember(run: Machine, key: Any, function: Function, args: calls.Arguments) -> Value:
    reads, consulted, oldest = run.reads, run.consulted, run.oldest_write
    run.reads, run.consulted = {}, set()
    start = run.clock
    run.oldest_write = start + 1
    result = follow(run, function, args)
    if run.oldest_write > start and len(run.reads) <= MEMO_READS and not calls._is_made(run, result, start):
        calls_of = run.memo.setdefault(key, [])
        calls_of.insert(0, Remembered(result, (function, args), run.clock, run.reads, run.consulted))
        del calls_of[MEMO_VARIANTS:]
    if reads is not None:
        reads |= run.reads
    if consulted is not None:
        consulted |= run.consulted
    run.oldest_write = min(oldest, run.oldest_write)
    run.reads, run.consulted = reads, consulted
    return result


_CONTEXT_MANAGERS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})


def run_context_manager(run: Machine, manager: Term, body: Callable[[Value], None]) -> None:
    """Run a generator function of `contextlib.contextmanager`, with the body of the `with` where it yields."""
    assert manager.info is not None
    function, outer, caller = manager.info["function"], run.entered, list(run.frames)
    if outer.count(function.node) >= MAX_ACTIVATIONS:
        return
    run.entered = (*outer, function.node)

    def on_yield(value: Value) -> None:
        inner, run.frames = run.frames, caller
        body(value)
        run.frames = inner

    follow(run, function, manager.info["args"], on_yield)
    run.entered = outer


def _is_exhausted(run: Machine, function: Function) -> bool:
    return run.spent.get(id(function.node), 0) > MAX_IN_FUNCTION


def _active(run: Machine, function: Function) -> int:
    return sum(1 for frame in run.frames if frame.function is not None and frame.function.node is function.node)


def _keys(run: Machine, args: calls.Arguments) -> Any:
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
    run: Machine, function: Function, args: calls.Arguments, on_yield: Callable[[Value], None] | None = None
) -> Value:
    """Run a function's body on these arguments and return what it returns."""
    names: dict[str, Any] = {}
    frame = Frame(function.source, Scope(names, function.scope), len(run.frames), function)
    frame.receiver, frame.on_yield, frame.assumed = function.receiver, on_yield, len(run.assumed)
    _bind_parameters(run, function, args, names)
    saved = run.assumed, run.grad, run.amp
    run.frames.append(frame)
    contexts.enter_function(run, function)
    before, told = run.statements, len(run.program.events)
    try:
        value = _run_body(run, function, frame)
        if frame.yields:
            contexts.forget_since(run, told, function.node)
    finally:
        run.frames.pop()
        _account(run, function, frame, run.statements - before)
        run.assumed, run.grad, run.amp = saved
    return value


def _account(run: Machine, function: Function, frame: Frame, statements: int) -> None:
    """Charge a function with the statements that it ran itself."""
    key = id(function.node)
    run.spent[key] = run.spent.get(key, 0) + 1 + min(statements - frame.inner, MAX_IN_FUNCTION // 3)
    if run.frames:
        run.frames[-1].inner += statements


def _run_body(run: Machine, function: Function, frame: Frame) -> Value:
    body = function.node.body
    if type(function.node) is cst.Lambda:
        return run.dispatch[type(body)](run, body)
    signal = statements.run_suite(run, body)
    run.meet(0, (RETURN,))
    while frame.pending:
        frame.pending.pop()
        run.release()
    if frame.yields:
        return Term("generator", (_joined(run, [(value, None, {}) for value in frame.yields], 0),))
    falls_off = signal is None  # some path reaches the end
    returned = bool(frame.results)
    if falls_off:
        frame.results.append((NONE, function.node, {}))
    value = _joined(run, frame.results, frame.assumed) if frame.results else NONE
    noting.output(run, function, value, returned, falls_off)
    return value


def _joined(run: Machine, results: list[Any], known: int) -> Value:
    """What a function returns, of all the values that its paths return; its caller had assumed `known` things."""
    value = results[-1][0]
    for other, _, assumed in reversed(results[:-1]):
        guard = next(reversed(assumed), None) if len(assumed) > known else None
        truth = assumed.get(guard) if guard is not None else True
        guard = guard or Term("branch")
        value = run.merged(guard, other, value) if truth else run.merged(guard, value, other)
    return value


def _bind_parameters(run: Machine, function: Function, args: calls.Arguments, names: dict[str, Any]) -> None:
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
        names[star.name.value] = _taken_by_star(run, args, tuple(positional))
    for parameter in parameters.kwonly_params:
        name = parameter.name.value
        names[name] = keywords.pop(name, None) or _default(function, name, args)
    if parameters.star_kwarg is not None:
        rest = Term("keywords") if args.open or args.unseen else None
        names[parameters.star_kwarg.name.value] = run.born(Container("dict", keywords, rest))


def _taken_by_star(run: Machine, args: calls.Arguments, positional: tuple[Value, ...]) -> Value:
    """What `*args` is bound to."""
    return run.born(Container("list", positional, Term("unknown"))) if args.unseen else Tuple(positional)


def _default(function: Function, name: str, args: calls.Arguments) -> Value:
    """The default of a parameter, unless unknown arguments may have been passed for it."""
    found = None if args.open else function.defaults.get(name)
    return found if found is not None else parameter_term(function, name)


def parameter_term(function: Function, name: str) -> Value:
    """The unknown value of a parameter; the same one each time the function is run without it."""
    found = function.attrs.get(name)
    if found is None:
        found = function.attrs[name] = Term("parameter", (), function.source, function.node, None, {"name": name})
    return found
