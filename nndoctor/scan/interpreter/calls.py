"""Calls: arguments, functions of the project followed to a bounded depth, and the memo that spares repeats."""

from __future__ import annotations

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    builtin_calls,
    containers,
    contexts,
    following,
    kinds,
    layers,
    library,
    methods,
    modes,
    module_methods,
    noting,
    objects,
    subscripts,
)
from nndoctor.scan.interpreter.heap import ABSENT
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    NONE,
    Api,
    Choice,
    Class,
    Container,
    Function,
    Instance,
    Lib,
    Method,
    Module,
    Term,
    Tuple,
    Value,
)


class Arguments:
    """The evaluated arguments of a call; `open` says that unknown ones may follow (`*args`, `**kwargs`).

    `unseen` is set for a caller whom nobody sees: what `*args` and `**kwargs` take is unknown.
    """

    __slots__ = ("keywords", "open", "positional", "unseen")

    def __init__(self, positional: tuple[Value, ...] = (), keywords: dict[str, Value] | None = None) -> None:
        self.positional = positional
        self.keywords = keywords or {}
        self.open = False
        self.unseen = False

    @classmethod
    def of_unseen_caller(cls, keywords: dict[str, Value] | None = None) -> Arguments:
        """What a function is given that no call was found of."""
        args = cls((), keywords)
        args.unseen = True
        return args

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
        noting.in_place(run, run.lookup(func.value.value), result, func)
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
    if name in torch_api.NOTED_METHODS and type(receiver) not in (Choice, Api):
        event = run.note("method", node, receiver, name=name, args=args, result=None)
        event.details["result"] = result = _method_called(run, receiver, name, args, node)
        return result
    return _method_called(run, receiver, name, args, node)


def _method_called(run: Machine, receiver: Value, name: str, args: Arguments, node: cst.CSTNode) -> Value:
    kind = type(receiver)
    if kind is Term:
        return methods.term_method(run, receiver, name, args, node)
    if kind is Choice:
        return run.each(receiver, lambda leaf: call_method(run, leaf, name, args, node))
    if kind is Api:
        return library.call_api(run, run.api(f"{receiver.name}.{name}"), args, node)
    if kind is Container or kind is Tuple:
        return subscripts.method(run, receiver, name, args, node)
    if kind is Lib:
        return methods.lib_method(run, receiver, name, args, node)
    if kind is Instance or kind is Module or kind is Class or kind is Function:
        callee = objects.get_attribute(run, receiver, name, node)
        return call_value(run, callee, args, node)
    return builtin_calls.other_method(run, receiver, name, args, node)


def call_value(run: Machine, callee: Value, args: Arguments, node: cst.CSTNode) -> Value:
    """Call any value."""
    callee = run.resolve(callee)
    kind = type(callee)
    if kind is Function:
        if callee.name == "forward" and kinds.is_module(callee.receiver):
            return modes.forward(run, callee.receiver, callee, args, node)
        return following.call_function(run, callee, args, node)
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
    if kind is Term and kinds.is_model(callee):
        result = unknown_call(run, callee, args, node)
        return modes.noted_forward(run, callee, result, args, node)
    if kind is Term and callee.op == "context" and args.positional and type(args.positional[0]) is Function:
        return contexts.decorated(args.positional[0], callee)
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
        return module_methods.instance_method(run, receiver, method.name, args, node)
    if type(receiver) in (Function, Class, Module):
        return unknown_call(run, receiver, args, node)
    return call_method(run, receiver, method.name, args, node)


def call_instance(run: Machine, instance: Instance, args: Arguments, node: cst.CSTNode) -> Value:
    """`object(...)`: the forward of a module, or `__call__`."""
    own = instance.cls.find("__call__")
    if type(own) is Function:
        return following.call_function(run, own.bind(instance), args, node)
    forward = run.read(instance.attrs, "forward") or instance.cls.find("forward")
    if type(forward) is Function and (instance.cls.is_module or "?" in instance.cls.roots):
        bound = forward if "forward" in instance.attrs else forward.bind(instance)
        return modes.forward(run, instance, bound, args, node)
    if instance.attrs.get("$items") is not None:
        return modes.noted_forward(run, instance, layers.call_sequential(run, instance, args, node), args, node)
    loss = next((name for root in instance.cls.roots if (name := root.rpartition(".")[2]) in torch_api.LOSSES), None)
    if loss is not None:
        return layers.call_loss(run, loss, args, node)
    return unknown_call(run, instance, args, node)


def unknown_call(run: Machine, callee: Value, args: Arguments, node: cst.CSTNode) -> Term:
    """A call that cannot be followed: it may do anything to the objects it is given."""
    for value in args.all:
        contexts.escape(run, value)
    return run.term("call", (callee, *args.all), node)


def _is_made(run: Machine, value: Value, start: int) -> bool:
    """Whether a value is or holds an object that was made since `start`: another call makes another one."""
    kind = type(value)
    if kind is Container or kind is Instance or kind is Lib:
        return run.births.get(id(value.attrs), 0) > start
    if kind is Tuple:
        return any(_is_made(run, item, start) for item in value.items)
    return kind is Choice and any(_is_made(run, leaf, start) for leaf in run.leaves(value))
