"""Subscripts: items and slices of values, read, assigned and deleted."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import (
    calls,
    containers,
    data,
    dtypes,
    estimators,
    following,
    library_models,
    methods,
    noting,
    sequences,
    tables,
    tensors,
    training,
)
from nndoctor.scan.interpreter.heap import ABSENT
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import (
    ITEMS,
    NONE,
    REST,
    Choice,
    Const,
    Container,
    Function,
    Instance,
    Lib,
    Term,
    Tuple,
    Value,
    leaves,
)


def get_item(run: Machine, node: cst.Subscript) -> Value:
    """`value[index]`."""
    value = run.resolve(run.dispatch[type(node.value)](run, node.value))
    parts = [run.dispatch[type(part.slice)](run, part.slice) for part in node.slice]
    single = node.slice[0].slice
    if type(single) is cst.Slice and len(parts) == 1:
        return _slice(run, value, parts[0], node)
    index = parts[0] if len(parts) == 1 else Tuple(tuple(parts))
    if type(value) is Choice:
        return run.each(value, lambda leaf: item(run, leaf, index, node))
    return item(run, value, index, node)


def item(run: Machine, value: Value, index: Value, node: Any) -> Value:
    """One item by a constant or unknown index."""
    kind = type(value)
    index = run.resolve(index)
    if kind is Term:
        return tensors.item(run, value, index, node)
    if kind is Container:
        return tables.get(run, value, index) if value.kind == "dict" else _of_sequence(run, value, index, node)
    if kind is Tuple or (kind is Lib and ITEMS in value.attrs):
        return _of_sequence(run, value, index, node)
    if kind is Shape and type(index) is Const and type(index.value) is int:
        return value.dim(index.value) or Term("size")
    if kind is Instance:
        own = value.cls.find("__getitem__")
        if type(own) is Function or ITEMS not in value.attrs:
            return data.item_of_instance(run, value, index, node)
        return _of_sequence(run, value, index, node)
    return tensors.item(run, value, index, node)


def _of_sequence(run: Machine, value: Value, index: Value, node: Any) -> Value:
    items = value.items if type(value) is Tuple else run.read(value.attrs, ITEMS)
    if type(items) is dict and tables.is_key(index) and index.value in items:
        return run.resolve(items[index.value])
    if type(items) is dict or (type(value) is not Tuple and run.read(value.attrs, REST) is not None):
        return containers.held(run, value, node)
    if type(index) is not Const or type(index.value) is not int:
        return containers.representative(run, items, node)
    if index.value < 0:
        return _from_end(run, items, index.value)
    return run.resolve(items[index.value]) if index.value < len(items) else Term("unknown")


def _from_end(run: Machine, items: tuple[Value, ...], index: int) -> Value:
    """The item at a negative index; on each path the one that is there."""
    for choice in items:
        if type(choice) is Choice and any(leaf is ABSENT for leaf in leaves(choice)):
            present = tuple(run.resolve(i) for i in items)
            if any(i is not j for i, j in zip(present, items, strict=True)):
                return _from_end(run, tuple(i for i in present if i is not ABSENT), index)
            return run.each(choice, lambda leaf: _from_end(run, items, index))
    return run.resolve(items[index]) if -len(items) <= index else Term("unknown")


def _slice(run: Machine, value: Value, part: Term, node: Any) -> Value:
    items = containers.known_items(run, value)
    if items is None:
        return run.each(value, lambda leaf: tensors.sliced(run, leaf, part, node))
    bounds = _bounds(run, part)
    chosen = items[bounds] if bounds is not None else ()
    rest = None if bounds is not None else containers.representative(run, items, node)
    if type(value) is Lib or type(value) is Instance:
        made = run.like(value, chosen)
        made.attrs[REST] = rest
        return made
    if type(value) is Container or rest is not None:
        return run.born(Container("list", chosen, rest))
    return Tuple(chosen)


def _bounds(run: Machine, part: Term) -> slice | None:
    """The slice, if its bounds are known."""
    bounds = []
    for bound in part.inputs or (NONE, NONE, NONE):
        value = run.resolve(bound)
        if type(value) is not Const or type(value.value) not in (int, type(None)):
            return None
        bounds.append(value.value)
    return slice(*bounds) if bounds[2] != 0 else None


def set_item(run: Machine, target: cst.Subscript, value: Value) -> None:
    """`holder[index] = value`."""
    holder = run.resolve(run.dispatch[type(target.value)](run, target.value))
    part = target.slice[0].slice
    if type(holder) is Term and methods.is_gradient(holder):
        training.forget_gradients(run, target)
    if type(holder) is Term:
        dtypes.store(holder, value)
        noting.overwritten(run, holder, value, target)
        library_models.change_part(run, holder, value)
        noting.stored(run, holder, value, target)
        estimators.stored(run, holder, value, target)
        _overwrite(run, target, holder, value)
    index = run.dispatch[type(part)](run, part)
    if type(part) is cst.Slice:
        if type(holder) is Container and len(target.slice) == 1:
            sequences.replace_slice(run, holder, _bounds(run, index), value, target)
        return
    index = run.resolve(index)
    if type(holder) is Term and type(index) is Const and index.value == "lr":
        run.note("rate", target, holder, value=value)
    if type(holder) is Container or _is_module_list(holder):
        noting.stored(run, holder, value, target)
        if type(run.read(holder.attrs, ITEMS)) is dict:
            tables.put(run, holder, index, value)
        else:
            sequences.replace(run, holder, index, value, target)
    elif type(holder) is Instance:
        own = holder.cls.find("__setitem__")
        if type(own) is Function:
            following.call_function(run, own.bind(holder), calls.Arguments((index, value)), target)


def _overwrite(run: Machine, target: cst.Subscript, holder: Term, value: Value) -> None:
    """`x[..., 4:] = torch.sigmoid(x[..., 4:])`: the name means a tensor that shows no one activation any more."""
    mixed = type(value) is Choice or (type(value) is Term and value.act != holder.act)
    if type(target.value) is cst.Name and holder.act is not None and mixed:
        result = run.term("overwritten", (holder, value), target)
        result.dtype, result.shape = holder.dtype, holder.shape
        run.assign(target.value.value, result)


def delete_item(run: Machine, target: cst.Subscript) -> None:
    """`del holder[index]`."""
    holder = run.resolve(run.dispatch[type(target.value)](run, target.value))
    part = target.slice[0].slice
    if type(holder) is not Container and not _is_module_list(holder):
        return
    index = run.dispatch[type(part)](run, part)
    if type(part) is cst.Slice:
        sequences.replace_slice(run, holder, _bounds(run, index), Tuple(()), target)
        return
    index = run.resolve(index)
    if type(run.read(holder.attrs, ITEMS)) is dict:
        tables.remove(run, holder, index)
    else:
        sequences.take(run, holder, index, target)


def _is_module_list(holder: Value) -> bool:
    return (type(holder) is Lib or type(holder) is Instance) and ITEMS in holder.attrs


CHANGES = frozenset({"append", "extend", "insert", "pop", "update", "clear"})  # of module lists and module dicts


def change_modules(run: Machine, modules: Value, name: str, args: Any, node: Any) -> Value:
    """A method that changes the modules of a Sequential, ModuleList or ModuleDict."""
    if type(run.read(modules.attrs, ITEMS)) is dict:
        return tables.method(run, modules, name, args, node)
    if name == "append" and args.positional:
        sequences.append(run, modules, args.positional[0])
        return modules
    result = sequences.method(run, modules, name, args, node)
    return modules if name in ("extend", "insert") else result


def method(run: Machine, receiver: Any, name: str, args: Any, node: Any) -> Value:
    """A method of a list, tuple, set or dict."""
    if type(receiver) is Tuple:
        return Term("number")
    return (tables if receiver.kind == "dict" else sequences).method(run, receiver, name, args, node)
