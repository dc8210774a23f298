"""Lists, sets and module lists as objects that change: items put in, taken out and moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import containers
from nndoctor.scan.interpreter.heap import join, same
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import ITEMS, NONE, REST, Class, Const, Container, Function, Lib, Term, Value

Items = tuple[Value, ...]


def items_of(run: Machine, holder: Any) -> Items:
    """The items at known places; those of a module table without their names."""
    items = run.read(holder.attrs, ITEMS)
    return tuple(items.values()) if type(items) is dict else items or ()


def in_order(run: Machine, holder: Any) -> Items | None:
    """All items, if their places are known on every path."""
    items = run.read(holder.attrs, ITEMS)
    known = type(items) is tuple and run.read(holder.attrs, REST) is None and containers.are_certain(items)
    return items if known else None


def put(run: Machine, holder: Any, items: Items) -> None:
    """Give a sequence other items."""
    run.write(holder.attrs, ITEMS, items)


def mix(run: Machine, holder: Any, node: Any, more: Items = ()) -> None:
    """Nobody knows any more which items are where."""
    rest = run.read(holder.attrs, REST)
    values = (*items_of(run, holder), *more, *(() if rest is None else (rest,)))
    run.write(holder.attrs, REST, containers.any_of(run, values, node) or Term("unknown"))
    put(run, holder, ())


def distinct(items: Items) -> Items:
    """The items without repetitions of the same constant."""
    seen: dict[Any, Value] = {}
    for item in items:
        seen.setdefault((type(item.value), item.value) if type(item) is Const else id(item), item)
    return tuple(seen.values())


def append(run: Machine, holder: Any, value: Value) -> None:
    """Put one more item at the end of a list or module list."""
    items = run.read(holder.attrs, ITEMS)
    if type(items) is tuple and len(items) < containers.MAX_ITEMS:
        run.write(holder.attrs, ITEMS, (*items, value))
    else:
        run.write(holder.attrs, REST, value)


def extend(run: Machine, holder: Any, more: Value, node: Any) -> None:
    """Put the items of an iterable at the end of a list or module list."""
    items = containers.known_items(run, more)
    if items is None:
        known = [value for value in (run.read(holder.attrs, REST), containers.element(run, more, node)) if value]
        run.write(holder.attrs, REST, containers.any_of(run, tuple(known), node))
        return
    for value in items:
        append(run, holder, value)


def insert(run: Machine, holder: Any, index: Value, value: Value, node: Any) -> None:
    """Put one more item before the one at an index."""
    items, place = in_order(run, holder), run.resolve(index)
    if items is None or len(items) >= containers.MAX_ITEMS or type(place) is not Const or type(place.value) is not int:
        mix(run, holder, node, (value,))
        return
    changed = list(items)
    changed.insert(place.value, value)
    put(run, holder, tuple(changed))


def take(run: Machine, holder: Any, index: Value, node: Any) -> Value:
    """Remove the item at an index, and return it."""
    items, place = in_order(run, holder), run.resolve(index)
    size = len(items) if items is not None else 0
    if items is None or type(place) is not Const or type(place.value) is not int or not -size <= place.value < size:
        mix(run, holder, node)
        return run.read(holder.attrs, REST)
    at = place.value % size
    put(run, holder, (*items[:at], *items[at + 1 :]))
    if size > 1 and _is_repeated(run, holder):
        mix(run, holder, node)
    return items[at]


def _is_repeated(run: Machine, holder: Any) -> bool:
    """Whether a loop that began after the object was made does this nobody knows how often."""
    birth = run.births.get(id(holder.attrs), 0)
    return any(not loop.unrolled and loop.began >= birth for loop in run.loops)


def replace(run: Machine, holder: Any, index: Value, value: Value, node: Any) -> None:
    """`list[index] = value`; at an unknown index each item is the new or the old one."""
    items = run.read(holder.attrs, ITEMS)
    if type(items) is not tuple or not items or run.read(holder.attrs, REST) is not None:
        run.write(holder.attrs, REST, value)
        return
    if type(index) is Const and type(index.value) is int and containers.are_certain(items):
        if -len(items) <= index.value < len(items):
            at = index.value % len(items)
            put(run, holder, (*items[:at], value, *items[at + 1 :]))
        return
    changed = [join(run.pure("Equal", index, run.constant(i)), value, old) for i, old in enumerate(items)]
    put(run, holder, tuple(changed))


def replace_slice(run: Machine, holder: Any, part: slice | None, more: Value, node: Any) -> None:
    """`list[a:b] = more`; `part` is None where the bounds are not known."""
    items, given = in_order(run, holder), containers.known_items(run, more)
    if items is None or given is None or part is None:
        if part == slice(None):
            run.write(holder.attrs, REST, None)
            put(run, holder, ())
            extend(run, holder, more, node)
        else:
            mix(run, holder, node, given if given is not None else (containers.element(run, more, node),))
        return
    changed = list(items)
    if part.step in (None, 1) or len(changed[part]) == len(given):
        changed[part] = given
    put(run, holder, tuple(changed))


def ordered(run: Machine, items: Items, args: Any) -> Items | None:
    """The items as `sorted` would order them; None if that is unknown."""
    kinds = {type(item.value) if type(item) is Const else None for item in items}
    backwards = run.truth(args.keywords["reverse"]) if "reverse" in args.keywords else False
    if "key" in args.keywords or backwards is None or not (kinds <= _NUMBERS or kinds <= _STRINGS):
        return None
    return tuple(sorted(items, key=lambda item: item.value, reverse=backwards))


_NUMBERS, _STRINGS = frozenset({int, float, bool}), frozenset({str})


# Methods by name ------------------------------------------------------------------------------------------------------


def _append(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    if run.loops:
        run.note("append", node, args.positional[0], container=holder)
    append(run, holder, args.positional[0])
    return NONE


def _add(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    known = items_of(run, holder)
    if len(distinct((*known, args.positional[0]))) > len(known):
        _append(run, holder, args, node)
    return NONE


def _append_left(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    if run.loops:
        run.note("append", node, args.positional[0], container=holder)
    insert(run, holder, Const(0), args.positional[0], node)
    return NONE


def _extend(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    for more in args.positional:
        extend(run, holder, more, node)
    return NONE


def _insert(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    insert(run, holder, args.positional[0], args.positional[-1], node)
    return NONE


def _pop(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    if type(holder) is Container and holder.kind == "set":
        mix(run, holder, node)
        return run.read(holder.attrs, REST)
    return take(run, holder, args.positional[0] if args.positional else Const(-1), node)


def _pop_left(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    return take(run, holder, Const(0), node)


def _remove(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    items, value = in_order(run, holder), run.resolve(args.positional[0])
    for i, item in enumerate(items or ()):
        if same(run.resolve(item), value):
            take(run, holder, run.constant(i), node)
            return NONE
        if not _differ(run.resolve(item), value):
            break
    mix(run, holder, node)
    return NONE


def _differ(a: Value, b: Value) -> bool:
    """Whether two values are certainly unequal, given that they are not the same."""
    return type(a) in _OBJECTS and type(b) in _OBJECTS


_OBJECTS = frozenset({Const, Lib, Function, Class})


def _clear(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    put(run, holder, ())
    run.write(holder.attrs, REST, None)
    return NONE


def _reverse(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    items = in_order(run, holder)
    if items is None:
        mix(run, holder, node)
    else:
        put(run, holder, items[::-1])
    return NONE


def _sort(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    items = in_order(run, holder)
    arranged = ordered(run, items, args) if items is not None else None
    if arranged is None:
        mix(run, holder, node)
    else:
        put(run, holder, arranged)
    return NONE


def _copy(run: Machine, holder: Any, args: Any, node: Any) -> Value:
    return run.born(Container(holder.kind, run.read(holder.attrs, ITEMS), run.read(holder.attrs, REST)))


_METHODS: dict[str, Callable[[Machine, Any, Any, Any], Value]] = {
    "append": _append,
    "add": _add,
    "appendleft": _append_left,
    "extend": _extend,
    "update": _extend,
    "insert": _insert,
    "pop": _pop,
    "popleft": _pop_left,
    "remove": _remove,
    "discard": _remove,
    "clear": _clear,
    "reverse": _reverse,
    "sort": _sort,
    "copy": _copy,
}
_WITHOUT_ARGUMENTS = frozenset({"pop", "popleft", "clear", "reverse", "sort", "copy", "update", "extend"})


def method(run: Machine, holder: Any, name: str, args: Any, node: Any) -> Value:
    """A method of a list, set or module list."""
    known = _METHODS.get(name)
    if known is None or not (args.positional or name in _WITHOUT_ARGUMENTS):
        return Term("unknown")
    return known(run, holder, args, node)
