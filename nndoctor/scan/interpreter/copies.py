"""Copies of objects: shallow ones share their parts, deep ones have parts of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nndoctor.scan.interpreter.heap import join
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Choice, Container, Instance, Lib, Term, Tuple, Value

if TYPE_CHECKING:
    from nndoctor.scan.source import SourceFile

_OWNED = frozenset({"layer", "container", "model", "loss"})  # kinds of library objects that a module has for itself


def shallow_copy(run: Machine, args: Any, node: Any) -> Value:
    """`copy.copy(x)`."""
    value = _copied(run, args)
    return run.each(value, lambda leaf: _shallow(run, leaf, node))


def deep_copy(run: Machine, args: Any, node: Any) -> Value:
    """`copy.deepcopy(x)`: modules with layers of their own; a tensor stays what it is, without its graph."""
    value = _copied(run, args)
    return run.term("copy", (value,), node) if type(value) is Term else _deep(run, value, node, {})


def _copied(run: Machine, args: Any) -> Value:
    return run.resolve(args.positional[0] if args.positional else next(iter(args.all), Term("unknown")))


def _shallow(run: Machine, value: Value, node: Any) -> Value:
    made = _empty_copy(value, run.frame.source, node)
    if made is None:
        return value
    for key in list(value.attrs):
        made.attrs[key] = run.read(value.attrs, key)
    return run.born(made)


def _empty_copy(value: Value, source: SourceFile, node: Any) -> Any:
    """Another object of the same class, made at that place; None if the value is no object that can change."""
    kind = type(value)
    if kind is Instance:
        return Instance(value.cls, source, node)
    if kind is Lib:
        return Lib(value.api, value.kind, value.args, source, node)
    return Container(value.kind, ()) if kind is Container else None


def _deep(run: Machine, value: Value, node: Any, made: dict[int, Any]) -> Value:
    """A deep copy; `made` holds the copy of each object by its id, so that shared parts stay shared."""
    kind = type(value)
    if kind is Tuple:
        return Tuple(_deep(run, value.items, node, made))
    if kind is tuple:  # the items of a sequence
        return tuple(_deep(run, item, node, made) for item in value)
    if kind is dict:
        return {key: _deep(run, item, node, made) for key, item in value.items()}
    if kind is Choice:
        return join(value.guard, _deep(run, value.then, node, made), _deep(run, value.otherwise, node, made))
    if id(value) in made:
        return made[id(value)]
    copied = None
    if kind is not Lib or value.kind in _OWNED or not made:
        # The parts of a copy are shown where the original's were written.
        inside = made and kind in (Instance, Lib)
        copied = _empty_copy(value, *((value.source, value.node) if inside else (run.frame.source, node)))
    if copied is None:
        return value
    made[id(value)] = copied
    for key in list(value.attrs):
        copied.attrs[key] = _deep(run, run.read(value.attrs, key), node, made)
    return run.born(copied)
