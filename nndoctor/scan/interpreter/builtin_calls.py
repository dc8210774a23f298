"""Python's own functions, as far as they pass values on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import calls, containers, kinds, objects, sequences, tables
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, Shape
from nndoctor.scan.values import (
    FALSE,
    NONE,
    TRUE,
    Api,
    Class,
    Const,
    Container,
    Function,
    Instance,
    Lib,
    Term,
    Tuple,
    Value,
)

Builtin = Callable[[Machine, Any, Any], Value]


def _len(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else Term("unknown")
    if type(value) is Term and value.shape is not None:
        return value.shape.dim(0) or Term("size")
    items = containers.known_items(run, value) if type(value) in _SIZED else None
    if items is None or run.loops or not containers.are_certain(items):
        return run.pure("len", value)
    if type(value) is Container and value.kind == "set" and any(type(item) is not Const for item in items):
        return run.pure("len", value)  # some of them may be equal
    return run.constant(len(items))


_SIZED = frozenset({Tuple, Container})


def _range(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("range", *args.positional)


def _enumerate(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("enumerate", _iterable(args))


def _zip(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("zip", *args.positional)


def _list(run: Machine, args: Any, node: Any) -> Value:
    return _collected(run, args, node, "list")


def _set(run: Machine, args: Any, node: Any) -> Value:
    return _collected(run, args, node, "set")


def _collected(run: Machine, args: Any, node: Any, kind: str) -> Value:
    """The items of an iterable in a new container; an unknown iterable stands for itself."""
    if not args.positional:
        return run.born(Container(kind, ()))
    items = containers.known_items(run, args.positional[0])
    value = run.resolve(args.positional[0])
    if items is not None:
        return run.born(Container(kind, sequences.distinct(items) if kind == "set" else items))
    return value if type(value) is Term else run.born(Container(kind, (), containers.element(run, value, node)))


def _sorted(run: Machine, args: Any, node: Any) -> Value:
    items = containers.known_items(run, args.positional[0]) if args.positional else None
    if items is None:
        return _list(run, args, node)
    arranged = sequences.ordered(run, items, args)
    if arranged is not None or not items:
        return run.born(Container("list", arranged or ()))
    return run.born(Container("list", (), containers.representative(run, items, node)))


def _tuple(run: Machine, args: Any, node: Any) -> Value:
    items = containers.known_items(run, args.positional[0]) if args.positional else ()
    return Tuple(items) if items is not None else _list(run, args, node)


def _dict(run: Machine, args: Any, node: Any) -> Value:
    made = run.born(Container("dict", {}))
    tables.method(run, made, "update", args, node)
    return made


def _property(run: Machine, args: Any, node: Any) -> Value:
    """`property(getter, setter)`."""
    getter, setter = (run.resolve(args.get(i, name) or NONE) for i, name in enumerate(("fget", "fset")))
    if type(getter) is not Function:
        return run.term("call", args.all, node)
    made = objects.property_with(getter, setter if type(setter) is Function else None)
    made.decorators = (*getter.decorators, run.api("builtins.property"))
    return made


def _reversed(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("reversed", _iterable(args))


def _iter(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("iter", _iterable(args))


def _iterable(args: Any) -> Value:
    return args.positional[0] if args.positional else Term("unknown")


def _next(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else Term("unknown")
    return containers.element(run, value, node)


def _super(run: Machine, args: Any, node: Any) -> Value:
    for frame in reversed(run.frames):
        if frame.function is not None and frame.function.receiver is not None:
            owner = frame.function.owner
            return Term("super", (frame.function.receiver,), info={"after": owner})
    return Term("unknown")


_TENSORS = frozenset({"torch.Tensor", "torch.nn.Parameter", "torch.nn.parameter.Parameter"})


def _isinstance(run: Machine, args: Any, node: Any) -> Value:
    if len(args.positional) == 2:
        value, kind = map(run.resolve, args.positional)
        if type(value) is Instance and type(kind) is Class:
            return TRUE if kind in value.cls.mro else FALSE
        if type(value) in (Instance, Lib) and kinds.is_model(value) and type(kind) is Api and kind.name in _TENSORS:
            return FALSE
        if type(value) is Lib and hasattr(kind, "name") and type(kind) is not Class:
            return TRUE if kind.name == value.api else run.pure("isinstance", value, kind)
    return run.pure("isinstance", *args.positional)


def _getattr(run: Machine, args: Any, node: Any) -> Value:
    if len(args.positional) >= 2:
        name = run.resolve(args.positional[1])
        if type(name) is Const and isinstance(name.value, str):
            return objects.get_attribute(run, args.positional[0], name.value, node)
        return run.pure("attribute of unknown name", args.positional[0], name)
    return Term("unknown")


def _setattr(run: Machine, args: Any, node: Any) -> Value:
    if len(args.positional) == 3:
        name = run.resolve(args.positional[1])
        if type(name) is Const and isinstance(name.value, str):
            objects.set_attribute(run, args.positional[0], name.value, args.positional[2], node)
        elif type(owner := run.resolve(args.positional[0])) is Instance:
            run.write(owner.attrs, ("computed name", id(node)), args.positional[2])
    return NONE


def _hasattr(run: Machine, args: Any, node: Any) -> Value:
    if len(args.positional) == 2:
        owner, name = map(run.resolve, args.positional)
        named = type(owner) is Instance and type(name) is Const and isinstance(name.value, str)
        if named and (name.value in owner.attrs or owner.cls.find(name.value) is not None):
            return TRUE
    return run.pure("hasattr", *args.positional)


def _int(run: Machine, args: Any, node: Any) -> Value:
    """`int(x)`: a number without a graph."""
    value = run.resolve(args.positional[0]) if args.positional else run.constant(0)
    if type(value) is Dim:
        return value
    return _converted(run, int, value) or _number(run, value)


def _bool(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else FALSE
    truth = run.truth(value)
    return _number(run, value) if truth is None else TRUE if truth else FALSE


def _str(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else NONE
    if type(value) is Term and value.op == "path":
        return value.inputs[0]
    return value if type(value) is Const and isinstance(value.value, str) else run.term("text", args.all, node)


def _float(run: Machine, args: Any, node: Any) -> Value:
    """`float(x)`: a number without a graph."""
    value = run.resolve(args.positional[0]) if args.positional else run.constant(0.0)
    return _converted(run, float, value) or run.pure("float number", value)


def _number(run: Machine, value: Value) -> Value:
    result = run.pure("number", value)
    result.dtype = "python int"
    return result


def _converted(run: Machine, convert: Callable[[Any], object], value: Value) -> Value | None:
    """A constant converted; None where it is none, or cannot be converted."""
    if type(value) is not Const or not isinstance(value.value, str | int | float):
        return None
    try:
        return run.constant(convert(value.value))
    except (ValueError, OverflowError):
        return None


def _map(run: Machine, args: Any, node: Any) -> Value:
    """`map(f, xs)`: an element of the result for an element of the source."""
    if len(args.positional) < 2 or type(run.resolve(args.positional[0])) is not Function:
        return run.term("call", args.all, node)
    items = [containers.element(run, source, node) for source in args.positional[1:]]
    made = calls.call_value(run, args.positional[0], calls.Arguments(tuple(items)), node)
    return run.born(Container("list", (), made))


def _sum(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else NONE
    result = run.term("sum of", args.all, node)
    part = containers.element(run, value, node) if type(value) in (Container, Tuple) else None
    result.act = part.act if type(part) is Term and part.act == "loss" else None
    return result


_BUILTINS: dict[str, Builtin] = {
    "len": _len,
    "range": _range,
    "enumerate": _enumerate,
    "zip": _zip,
    "list": _list,
    "tuple": _tuple,
    "dict": _dict,
    "sorted": _sorted,
    "set": _set,
    "frozenset": _set,
    "property": _property,
    "reversed": _reversed,
    "iter": _iter,
    "next": _next,
    "super": _super,
    "isinstance": _isinstance,
    "getattr": _getattr,
    "setattr": _setattr,
    "hasattr": _hasattr,
    "float": _float,
    "str": _str,
    "int": _int,
    "bool": _bool,
    "map": _map,
    "sum": _sum,
}


def call(run: Machine, name: str, args: Any, node: Any) -> Value:
    """A call of a builtin function."""
    known = _BUILTINS.get(name)
    if known is None:
        return run.term("call", (run.api("builtins." + name), *args.all), node)
    return known(run, args, node)


def other_method(run: Machine, receiver: Value, name: str, args: Any, node: Any) -> Value:
    """A method of a constant, a shape, a dimension or a method object."""
    if name in ("numel", "item") and type(receiver) is Shape:
        return Term("size")
    return run.term("call", args.all, node)
