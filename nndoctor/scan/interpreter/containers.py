"""What lists, tuples, dicts and other iterables hold: their items, what one iteration yields, what unpacking binds."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import data, tensors
from nndoctor.scan.interpreter.heap import ABSENT, join, same
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import ITEMS, REST, Choice, Container, Instance, Lib, Term, Tuple, Value, leaves

MAX_ITEMS = 64  # a longer list is summed up by one element


def known_items(run: Machine, value: Value) -> tuple[Value, ...] | None:
    """The items of an iterable, if all of them are known."""
    value = run.resolve(value)
    kind = type(value)
    if kind is Tuple:
        return value.items  # type: ignore[no-any-return]
    if kind is Container or kind is Lib or (kind is Instance and ITEMS in value.attrs):
        return _held(run, value)
    if kind is Term and value.op in _ADAPTERS:
        return _known_of_adapter(run, value)
    if kind is Shape:
        return value.dims  # type: ignore[no-any-return]
    return None


def _held(run: Machine, holder: Any) -> tuple[Value, ...] | None:
    if run.read(holder.attrs, REST) is not None:
        return None
    items = run.read(holder.attrs, ITEMS)
    if type(items) is not dict:
        return items  # type: ignore[no-any-return]
    return tuple(map(run.constant, items)) if type(holder) is Container else tuple(items.values())


def _known_of_adapter(run: Machine, adapter: Term) -> tuple[Value, ...] | None:
    op = adapter.op
    if op in _VIEWS:
        return _known_of_view(run, op, run.resolve(adapter.inputs[0]))
    inner = [known_items(run, source) for source in adapter.inputs]
    lists = [items for items in inner if items is not None]
    if not lists or len(lists) < len(inner):
        return None
    if op == "enumerate":
        return tuple(Tuple((run.constant(i), item)) for i, item in enumerate(lists[0]))
    if op == "zip":
        return tuple(Tuple(row) for row in zip(*lists, strict=False))
    return lists[0][::-1] if op == "reversed" else None


def _known_of_view(run: Machine, op: str, table: Value) -> tuple[Value, ...] | None:
    """The values or items of a dict."""
    items = run.read(table.attrs, ITEMS) if type(table) is Container or type(table) is Lib else None
    if type(items) is not dict or run.read(table.attrs, REST) is not None:
        return None
    if op == "values":
        return tuple(items.values())
    return tuple(Tuple((run.constant(key), item)) for key, item in items.items())


def are_certain(items: tuple[Value, ...]) -> bool:
    """Whether every item is there on every path, so that all indices are known."""
    return not any(type(item) is Choice and ABSENT in leaves(item) for item in items)


def any_of(run: Machine, values: tuple[Value, ...], node: Any) -> Value | None:
    """One of these values, nobody knows which; None if there are none."""
    found: Value | None = None
    for value in values:
        if found is None or same(found, value):
            found = value
        else:
            found = join(run.term("place", (value, found), node), value, found)
    return found


def representative(run: Machine, items: tuple[Value, ...], node: Any) -> Value:
    """One item that stands for all: the first if they are alike, as the layers of a stack are."""
    if not items:
        return Term("unknown")
    first = items[0]
    if all(_alike(first, item) for item in items[1:]):
        return first
    return any_of(run, items, node)


def _alike(a: Value, b: Value) -> bool:
    if type(a) is not type(b):
        return False
    if type(a) is Lib:
        return bool(a.api == b.api)
    if type(a) is Instance:
        return a.cls is b.cls
    if type(a) is Term:
        return bool(a.act == b.act)
    return same(a, b)


def element(run: Machine, value: Value, node: Any) -> Value:
    """What one iteration over a value yields, where its items are not known one by one."""
    value = run.resolve(value)
    kind = type(value)
    if kind is Term:
        if value.op in _ADAPTERS:
            return _element_of_adapter(run, value, node)
        return tensors.part(run, value, 0, node) if value.op in tensors.PARTS else run.pure("element", value)
    if kind is Tuple:
        return representative(run, value.items, node)
    if kind is Container:
        return run.pure("key", value) if value.kind == "dict" else held(run, value, node)
    if kind is Lib:
        return held(run, value, node) if ITEMS in value.attrs else data.batch(run, value)
    if kind is Choice:
        return run.each(value, lambda leaf: element(run, leaf, node))
    if kind is Instance:
        return held(run, value, node) if ITEMS in value.attrs else data.iterate_instance(run, value, node)
    return Term("size") if kind is Shape else run.pure("element", value)


def held(run: Machine, holder: Any, node: Any) -> Value:
    """An item of a list, or a value of a dict, at an unknown place."""
    rest = run.read(holder.attrs, REST)
    if rest is not None:
        return rest
    items = run.read(holder.attrs, ITEMS)
    return representative(run, tuple(items.values()) if type(items) is dict else items, node)


_VIEWS = frozenset({"items", "values"})
_ADAPTERS = _VIEWS | {"enumerate", "zip", "range", "reversed", "generator", "iter"}


def _element_of_adapter(run: Machine, adapter: Term, node: Any) -> Value:
    op = adapter.op
    if op == "enumerate":
        return Tuple((Term("counter"), element(run, adapter.inputs[0], node)))
    if op == "zip":
        return Tuple(tuple(element(run, source, node) for source in adapter.inputs))
    if op == "range":
        return Term("counter")
    if op == "generator":
        return adapter.inputs[0] if adapter.inputs else Term("unknown")
    if op in _VIEWS:
        table = run.resolve(adapter.inputs[0])
        item = held(run, table, node) if type(table) is Container else element(run, table, node)
        return item if op == "values" else Tuple((Term("key"), item))
    return element(run, adapter.inputs[0], node)


def unpacked(run: Machine, value: Value, target: cst.Tuple | cst.List) -> list[Value]:
    """The parts that an unpacking assignment binds, one for each element of its target."""
    count = len(target.elements)
    starred = next((i for i, e in enumerate(target.elements) if type(e) is cst.StarredElement), None)
    value = run.resolve(value)
    if type(value) is Choice:
        return _unpacked_choice(run, value, target)
    if type(value) is Shape and starred is None:
        dims = value.unpack(count)
        if dims is not None:
            return list(dims)
    items = known_items(run, value)
    if items is not None and starred is not None and len(items) >= count - 1:
        tail = len(items) - (count - starred - 1)
        middle = run.born(Container("list", items[starred:tail]))
        return [*items[:starred], middle, *items[tail:]]
    if items is not None and len(items) == count and starred is None:
        return list(items)
    if type(value) is Container and value.kind == "list" and items is None and not run.read(value.attrs, ITEMS):
        return [_part_of_list(run, value, i, target.elements[i]) for i in range(count)]
    return [tensors.part(run, value, i, target.elements[i]) for i in range(count)]


def _part_of_list(run: Machine, values: Container, index: int, node: Any) -> Value:
    """An item of a list of which only one item is known, which stands for all: `q, k = [f(x) for x in xs]`."""
    item = held(run, values, node)
    if type(item) is not Term:
        return item
    part = run.term("index", (item, run.constant(index)), node)
    part.act, part.dtype, part.shape = item.act, item.dtype, item.shape
    return part


def _unpacked_choice(run: Machine, value: Choice, target: cst.Tuple | cst.List) -> list[Value]:
    then, otherwise = unpacked(run, value.then, target), unpacked(run, value.otherwise, target)
    return [run.joined(value.guard, a, b) for a, b in zip(then, otherwise, strict=True)]
