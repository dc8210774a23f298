"""Python's own functions, as far as they pass values on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import calls, containers, objects
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, Shape
from nndoctor.scan.values import FALSE, NONE, TRUE, Class, Const, Container, Function, Instance, Lib, Term, Tuple, Value

Builtin = Callable[[Machine, Any, Any], Value]


def _len(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else Term("unknown")
    if type(value) is Term and value.shape is not None:
        return value.shape.dim(0) or Term("size")
    items = containers.known_items(run, value) if type(value) in (Tuple, Container) else None
    return Const(len(items)) if items is not None and not run.loops else run.pure("len", value)


def _range(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("range", *args.positional)


def _enumerate(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("enumerate", *args.positional[:1])


def _zip(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("zip", *args.positional)


def _passed_on(run: Machine, args: Any, node: Any) -> Value:
    """`tqdm(x)`, `list(x)`, `sorted(x)`: what is iterated stays what it is."""
    return args.positional[0] if args.positional else run.born(Container("list", ()))


def _list(run: Machine, args: Any, node: Any) -> Value:
    if not args.positional:
        return run.born(Container("list", ()))
    items = containers.known_items(run, args.positional[0])
    value = run.resolve(args.positional[0])
    if items is not None:
        return run.born(Container("list", items))
    return value if type(value) is Term else run.born(Container("list", (), containers.element(run, value, node)))


def _tuple(run: Machine, args: Any, node: Any) -> Value:
    items = containers.known_items(run, args.positional[0]) if args.positional else ()
    return Tuple(items) if items is not None else args.positional[0]


def _dict(run: Machine, args: Any, node: Any) -> Value:
    first = run.resolve(args.positional[0]) if args.positional else None
    items = dict(run.read(first.attrs, "$items")) if type(first) is Container and first.kind == "dict" else {}
    rest = Term("unknown") if args.open or (first is not None and not items) else None
    return run.born(Container("dict", {**items, **args.keywords}, rest))


def _reversed(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("reversed", *args.positional[:1])


def _iter(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("iter", *args.positional[:1])


def _next(run: Machine, args: Any, node: Any) -> Value:
    value = run.resolve(args.positional[0]) if args.positional else Term("unknown")
    return containers.element(run, value, node)


def _super(run: Machine, args: Any, node: Any) -> Value:
    for frame in reversed(run.frames):
        if frame.function is not None and frame.function.receiver is not None:
            owner = frame.function.owner
            return Term("super", (frame.function.receiver,), info={"after": owner})
    return Term("unknown")


def _isinstance(run: Machine, args: Any, node: Any) -> Value:
    if len(args.positional) == 2:
        value, kind = map(run.resolve, args.positional)
        if type(value) is Instance and type(kind) is Class:
            return TRUE if kind in value.cls.mro else FALSE
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
    return NONE


def _hasattr(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("hasattr", *args.positional)


def _number(run: Machine, args: Any, node: Any) -> Value:
    """`int(x)`, `bool(x)`: a number without a graph."""
    value = run.resolve(args.positional[0]) if args.positional else NONE
    if type(value) is Const or type(value) is Dim:
        return value
    result = run.pure("number", value)
    result.dtype = "python int"
    return result


def _float(run: Machine, args: Any, node: Any) -> Value:
    """`float(x)`: a number without a graph."""
    value = run.resolve(args.positional[0]) if args.positional else NONE
    return value if type(value) is Const else run.pure("float number", value)


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
    "len": _len, "range": _range, "enumerate": _enumerate, "zip": _zip, "list": _list, "tuple": _tuple, "dict": _dict,
    "sorted": _passed_on, "set": _passed_on, "reversed": _reversed, "iter": _iter, "next": _next, "super": _super, "isinstance": _isinstance,
    "getattr": _getattr, "setattr": _setattr, "hasattr": _hasattr, "float": _float, "int": _number, "bool": _number, "map": _map, "sum": _sum,
}  # fmt: skip


def call(run: Machine, name: str, args: Any, node: Any) -> Value:
    """A call of a builtin function."""
    known = _BUILTINS.get(name)
    return known(run, args, node) if known is not None else run.term("call", (run.api("builtins." + name), *args.all), node)


def other_method(run: Machine, receiver: Value, name: str, args: Any, node: Any) -> Value:
    """A method of a constant, a shape, a dimension or a method object."""
    if name in ("numel", "item") and type(receiver) is Shape:
        return Term("size")
    return run.term("call", args.all, node)
