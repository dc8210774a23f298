"""Tensors put together from several, and views that take them for something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nndoctor.scan.interpreter import shape_arguments as given
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, number
from nndoctor.scan.values import ITEMS, REST, Container, Term, Tuple, Value

_JOINS = frozenset({"cat", "stack", "array"})
_COPIES = frozenset({"contiguous", "float", "to", "cuda", "cpu", "type"})


def _source_of(tensor: Term) -> Term:
    """The operation behind copies that keep the shape."""
    while tensor.op in _COPIES and tensor.inputs and type(tensor.inputs[0]) is Term:
        tensor = tensor.inputs[0]
    return tensor


def note_view(run: Machine, tensor: Term, target: Sequence[Dim | None], node: Any) -> None:
    """Remember a view of joined tensors: the dimensions before and behind their number, as far as one of them tells."""
    join = _source_of(tensor)
    args = (join.info or {}).get("args")
    if join.op not in _JOINS or args is None or not args.positional:
        return
    parts = run.resolve(args.positional[0])
    values = _values(run, parts)
    shapes = [shape.dims for value in values if (shape := given.shape_of(run, value)) is not None]
    known = [dims for dims in shapes if dims is not None]
    if not known or len({len(dims) for dims in known}) > 1 or not all(type(value) is Term for value in values):
        return
    dims = known[0]
    rank = len(dims) + (join.op != "cat")
    axis = 0 if join.op == "array" else given.axis(run, args, 1, "dim", rank, 0)
    if axis is not None:
        sides = {"before": dims[:axis], "behind": dims[axis:]}
        run.note("joined view", node, join, parts=parts, count=_count(run, parts), target=tuple(target), **sides)


def _values(run: Machine, parts: Value) -> tuple[Value, ...]:
    """The tensors that are joined, one for all those that a loop appended."""
    if type(parts) is Tuple:
        return tuple(map(run.resolve, parts.items))
    if type(parts) is not Container:
        return ()
    held, rest = run.read(parts.attrs, ITEMS), run.read(parts.attrs, REST)
    return (*map(run.resolve, held if type(held) is tuple else ()), *(() if rest is None else (run.resolve(rest),)))


def _count(run: Machine, parts: Any) -> Dim | None:
    """How many tensors are joined; None of a list that was filled step by step."""
    if type(parts) is Tuple:
        return number(len(parts.items))
    held, filled = run.read(parts.attrs, ITEMS), (id(parts.attrs), ITEMS) in run.written
    certain = type(held) is tuple and not filled and run.read(parts.attrs, REST) is None
    return number(len(held)) if certain else None
