"""Lists, tuples, dicts and what can be iterated: items, elements, subscripts, comprehensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import data, operators, statements, tensors
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.program import Loop
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import Choice, Const, Container, Instance, Lib, Term, Tuple, Value

MAX_ITEMS = 64  # a longer list is summed up by one element


def known_items(run: Machine, value: Value) -> tuple[Value, ...] | None:
    """The items of an iterable, if all of them are known."""
    value = run.resolve(value)
    kind = type(value)
    if kind is Tuple:
        return value.items
    if kind is Container and run.read(value.attrs, "$rest") is None:
        items = run.read(value.attrs, "$items")
        return tuple(map(Const, items)) if type(items) is dict else items
    if kind is Shape and value.dims is not None:
        return value.dims
    if kind is Lib:
        return _children(run, value)
    if kind is Term and value.op in ("enumerate", "zip", "items", "values", "reversed"):
        return _known_of_adapter(run, value)
    return None


def _children(run: Machine, module: Lib) -> tuple[Value, ...] | None:
    if run.read(module.attrs, "$rest") is not None:
        return None
    items = run.read(module.attrs, "$items")
    return tuple(items.values()) if type(items) is dict else items


def _known_of_adapter(run: Machine, adapter: Term) -> tuple[Value, ...] | None:
    inner = [known_items(run, source) for source in adapter.inputs]
    if not inner or any(items is None for items in inner):
        return None
    lists: list[tuple[Value, ...]] = [items for items in inner if items is not None]
    if adapter.op == "enumerate":
        return tuple(Tuple((Const(i), item)) for i, item in enumerate(lists[0]))
    if adapter.op == "zip":
        return tuple(Tuple(row) for row in zip(*lists, strict=False))
    if adapter.op == "reversed":
        return lists[0][::-1]
    table = adapter.inputs[0].attrs["$items"] if hasattr(adapter.inputs[0], "attrs") else None
    if type(table) is not dict:
        return None
    if adapter.op == "values":
        return tuple(table.values())
    return tuple(Tuple((Const(key), item)) for key, item in table.items())


def element(run: Machine, value: Value, node: Any) -> Value:
    """What one iteration over a value yields, where its items are not known one by one."""
    value = run.resolve(value)
    kind = type(value)
    if kind is Term and value.op in _ADAPTERS:
        return _element_of_adapter(run, value, node)
    if kind is Tuple or kind is Container:
        return _any_item(run, value, node)
    if kind is Lib:
        children = run.read(value.attrs, "$items")
        if children:
            return run.read(value.attrs, "$rest") or next(iter(_children(run, value) or children))
        return data.batch(run, value)
    if kind is Choice:
        return run.each(value, lambda leaf: element(run, leaf, node))
    if kind is Instance:
        return data.iterate_instance(run, value, node)
    if kind is Shape:
        return Term("size")
    return run.pure("element", value)


_ADAPTERS = frozenset({"enumerate", "zip", "range", "items", "values", "reversed", "generator", "iter"})


def _element_of_adapter(run: Machine, adapter: Term, node: Any) -> Value:
    if adapter.op == "enumerate":
        return Tuple((Term("counter"), element(run, adapter.inputs[0], node)))
    if adapter.op == "zip":
        return Tuple(tuple(element(run, source, node) for source in adapter.inputs))
    if adapter.op == "range":
        return Term("counter")
    if adapter.op == "generator":
        return adapter.inputs[0] if adapter.inputs else Term("unknown")
    if adapter.op in ("items", "values"):
        item = element(run, adapter.inputs[0], node)
        return item if adapter.op == "values" else Tuple((Term("key"), item))
    return element(run, adapter.inputs[0], node)


def _any_item(run: Machine, value: Tuple | Container, node: Any) -> Value:
    if type(value) is Tuple:
        return value.items[0] if value.items else Term("unknown")
    rest = run.read(value.attrs, "$rest")
    items = run.read(value.attrs, "$items")
    if rest is not None:
        return rest
    if type(items) is dict:
        return next(iter(items.values())) if items else Term("unknown")
    return items[0] if items else Term("unknown")


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
    return [tensors.part(run, value, i, target.elements[i]) for i in range(count)]


def _unpacked_choice(run: Machine, value: Choice, target: cst.Tuple | cst.List) -> list[Value]:
    then, otherwise = unpacked(run, value.then, target), unpacked(run, value.otherwise, target)
    return [run.joined(value.guard, a, b) for a, b in zip(then, otherwise, strict=True)]


def augmented(run: Machine, node: cst.AugAssign, before: Value, operand: Value) -> Value:
    """`before OP= operand`."""
    name = type(node.operator).__name__
    if name == "AddAssign" and type(before) is Container:
        extend(run, before, operand, node)
        return before
    result = operators.binary(run, name.removesuffix("Assign"), before, operand, node)
    if name == "AddAssign":
        note_accumulation(run, node, before, operand, result)
    return run.counted(result)


def note_accumulation(run: Machine, node: Any, before: Value, operand: Value, result: Value) -> None:
    """Remember that a value was added to one that was there before."""
    if run.loops and type(result) is Term:
        run.note("accumulate", node, operand, before=before, result=result)


def get_item(run: Machine, node: cst.Subscript) -> Value:
    """`value[index]`."""
    value = run.resolve(run.dispatch[type(node.value)](run, node.value))
    parts = [run.dispatch[type(part.slice)](run, part.slice) for part in node.slice]
    single = node.slice[0].slice
    if type(single) is cst.Slice and len(parts) == 1:
        return _slice(run, value, single, node)
    index = parts[0] if len(parts) == 1 else Tuple(tuple(parts))
    return run.each(value, lambda leaf: item(run, leaf, index, node))


def item(run: Machine, value: Value, index: Value, node: Any) -> Value:
    """One item by a constant or unknown index."""
    kind = type(value)
    index = run.resolve(index)
    if kind is Shape and type(index) is Const and type(index.value) is int:
        return value.dim(index.value) or Term("size")
    if kind is Container and value.kind == "dict":
        return _from_dict(run, value, index, node)
    if kind is Lib and type(value.attrs.get("$items")) is dict and type(index) is Const:
        return value.attrs["$items"].get(index.value) or Term("unknown")
    if kind in (Tuple, Container, Lib):
        items = known_items(run, value)
        if items is not None and type(index) is Const and type(index.value) is int:
            return items[index.value] if -len(items) <= index.value < len(items) else Term("unknown")
        if items or kind is not Lib:
            return element(run, value, node)
    if kind is Instance:
        return data.item_of_instance(run, value, index, node)
    return tensors.item(run, value, index, node)


def _from_dict(run: Machine, table: Container, index: Value, node: Any) -> Value:
    items = run.read(table.attrs, "$items")
    if type(index) is Const and type(items) is dict and index.value in items:
        return items[index.value]
    rest = run.read(table.attrs, "$rest")
    return rest if rest is not None else run.pure("item", table, index)


def _slice(run: Machine, value: Value, part: cst.Slice, node: Any) -> Value:
    items = None if type(value) is Lib and not value.attrs.get("$items") else known_items(run, value)
    if items is None:
        return run.each(value, lambda leaf: tensors.sliced(run, leaf, part, node))
    bounds = [_bound(run, bound) for bound in (part.lower, part.upper, part.step)]
    if "?" in bounds:
        return run.born(Container("list", (), items[0] if items else None))
    chosen = items[slice(*bounds)]
    if type(value) is Container:
        return run.born(Container("list", chosen))
    if type(value) is Lib:
        return run.like(value, chosen)
    return Tuple(tuple(chosen))


def _bound(run: Machine, node: Any) -> Any:
    if node is None:
        return None
    value = run.resolve(run.dispatch[type(node)](run, node))
    return value.value if type(value) is Const and type(value.value) is int else "?"


def set_item(run: Machine, target: cst.Subscript, value: Value) -> None:
    """`container[index] = value`."""
    container = run.resolve(run.dispatch[type(target.value)](run, target.value))
    index = run.resolve(run.dispatch[type(target.slice[0].slice)](run, target.slice[0].slice))
    if type(container) is not Container:
        return
    items = run.read(container.attrs, "$items")
    if type(items) is dict and type(index) is Const and _hashable(index.value):
        run.write(container.attrs, "$items", {**items, index.value: value})
    elif type(items) is tuple and type(index) is Const and type(index.value) is int and -len(items) <= index.value < len(items):
        changed = list(items)
        changed[index.value] = value
        run.write(container.attrs, "$items", tuple(changed))
    else:
        run.write(container.attrs, "$rest", value)


def _hashable(value: object) -> bool:
    return isinstance(value, str | int | float | bool | type(None))


def append(run: Machine, container: Any, value: Value) -> None:
    """Put one more item at the end of a list or module list."""
    items = run.read(container.attrs, "$items")
    if type(items) is tuple and len(items) < MAX_ITEMS:
        run.write(container.attrs, "$items", (*items, value))
    else:
        run.write(container.attrs, "$rest", value)


def extend(run: Machine, container: Any, more: Value, node: Any) -> None:
    """Put the items of an iterable at the end of a list or module list."""
    items = known_items(run, more)
    if items is None:
        run.write(container.attrs, "$rest", element(run, more, node))
        return
    for value in items:
        append(run, container, value)


def comprehension(run: Machine, node: Any) -> Value:
    """A list, set, dict or generator comprehension: element by element where the source is known."""
    with run.inner_scope():
        results: list[Value] = []
        known = _run_clause(run, node, node.for_in, results)
    if type(node) is cst.DictComp:
        return run.born(Container("dict", {}, results[0] if results else None))
    if known:
        return run.born(Container("list", tuple(results)))
    return run.born(Container("list", (), results[0] if results else None))


def _run_clause(run: Machine, node: Any, clause: cst.CompFor, results: list[Value]) -> bool:
    iterable = run.dispatch[type(clause.iter)](run, clause.iter)
    items: Sequence[Value] | None = known_items(run, iterable)
    known = items is not None and len(items) <= MAX_ITEMS and not clause.ifs
    outer = run.loops
    run.loops = (*outer, Loop(clause, iterable))
    for value in (items if known and items is not None else (element(run, iterable, node),)):
        statements.bind(run, clause.target, value)
        for condition in clause.ifs:
            run.assume(run.dispatch[type(condition.test)](run, condition.test), True)
        if clause.inner_for_in is not None:
            known = _run_clause(run, node, clause.inner_for_in, results) and known
        else:
            results.append(_result(run, node))
    run.loops = outer
    return known


def _result(run: Machine, node: Any) -> Value:
    if type(node) is cst.DictComp:
        run.dispatch[type(node.key)](run, node.key)
        return run.dispatch[type(node.value)](run, node.value)
    return run.dispatch[type(node.elt)](run, node.elt)


def method(run: Machine, receiver: Container | Tuple, name: str, args: Any, node: Any) -> Value:
    """A method of a list, tuple, set or dict."""
    if type(receiver) is Tuple:
        return Term("number")
    first = args.positional[0] if args.positional else None
    if name in ("append", "add", "appendleft") and first is not None:
        if run.loops:
            run.note("append", node, first, container=receiver)
        append(run, receiver, first)
    elif name in ("extend", "update") and first is not None:
        _merge(run, receiver, first, node)
    elif name == "insert" and len(args.positional) > 1:
        items = run.read(receiver.attrs, "$items")
        if type(items) is tuple:
            run.write(receiver.attrs, "$items", (args.positional[1], *items) if _is_zero(first) else (*items, args.positional[1]))
    elif name == "clear":
        run.write(receiver.attrs, "$items", {} if receiver.kind == "dict" else ())
    elif name in ("items", "values"):
        return run.pure(name, receiver)
    elif name in ("get", "pop", "setdefault") and receiver.kind == "dict" and first is not None:
        return _from_dict(run, receiver, run.resolve(first), node)
    elif name in ("pop", "popleft"):
        return element(run, receiver, node)
    elif name in ("copy", "keys"):
        return receiver
    return Term("unknown")


def _merge(run: Machine, receiver: Container, more: Value, node: Any) -> None:
    if receiver.kind != "dict":
        extend(run, receiver, more, node)
    elif type(more) is Container and more.kind == "dict":
        run.write(receiver.attrs, "$items", {**run.read(receiver.attrs, "$items"), **run.read(more.attrs, "$items")})
    else:
        run.write(receiver.attrs, "$rest", Term("unknown"))


def _is_zero(value: Value | None) -> bool:
    return type(value) is Const and value.value == 0
