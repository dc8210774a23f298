"""What the arguments of a call say about a shape: axes, and the sizes of a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, Shape, dimension, in_common
from nndoctor.scan.values import ITEMS, REST, Choice, Const, Container, Term, Tuple, Value

# Terms that are no sizes, though they stand where sizes do.
_NO_SIZES = frozenset({"spread", "dtype", "joined", "unknown", "device"})


def axis(run: Machine, args: Any, index: int, name: str, rank: int, default: int | None = None) -> int | None:
    """The axis that a call names, counted from the front; None if it is not known or not there."""
    value = args.get(index, name) or args.keywords.get("axis")
    if value is None:
        return None if args.open else default
    value = run.resolve(value)
    if type(value) is not Const or type(value.value) is not int or not -rank <= value.value < rank:
        return None
    return value.value % rank


def integer(run: Machine, value: Value | None) -> int | None:
    """A value that is a known integer."""
    value = run.resolve(value) if value is not None else None
    return value.value if type(value) is Const and type(value.value) is int else None


def axes(run: Machine, values: Sequence[Value], rank: int) -> list[int] | None:
    """Several axes, as arguments or in one sequence; None if one of them is not known."""
    listed = items(run, values)
    found = [integer(run, value) for value in listed] if listed is not None else []
    known = [i % rank for i in found if i is not None and -rank <= i < rank]
    return known if listed is not None and len(known) == len(listed) else None


def items(run: Machine, values: Sequence[Value]) -> Sequence[Value] | None:
    """The arguments themselves, or those in the one sequence that was given; None if some are not known."""
    if len(values) != 1:
        return values
    only = run.resolve(values[0])
    if type(only) is Shape:
        return only.dims
    if type(only) is Tuple:
        return only.items
    if type(only) is not Container:
        return values
    held = run.read(only.attrs, ITEMS)
    return held if type(held) is tuple and run.read(only.attrs, REST) is None else None


def sizes(run: Machine, values: Sequence[Value]) -> list[Dim | None] | None:
    """The sizes of a target; None in it stands for -1, and no list for sizes that are not known."""
    listed = items(run, values)
    if listed is None:
        return None
    target: list[Dim | None] = []
    for value in map(run.resolve, listed):
        if type(value) is Const and value.value == -1:
            target.append(None)
            continue
        size = dimension(value)
        if size is None or (type(value) is Term and value.op in _NO_SIZES):
            return None
        target.append(size)
    return target


def known_sizes(run: Machine, values: Sequence[Value]) -> tuple[Dim, ...] | None:
    """The sizes of a target without -1."""
    target = sizes(run, values)
    known = tuple(size for size in target or () if size is not None)
    return known if target and len(known) == len(target) else None


def option(run: Machine, args: Any, index: int, *names: str) -> bool | None:
    """A flag of a call, False where it is left out; None if it is not known or something else stands in its place."""
    value = next((args.keywords[name] for name in names if name in args.keywords), None)
    if value is None:
        value = args.positional[index] if len(args.positional) > index else Const(False)
    value = run.resolve(value)
    return value.value if type(value) is Const and isinstance(value.value, bool) else None


def shape_of(run: Machine, value: Value | None) -> Shape | None:
    """The shape that a value is known to have by now."""
    value = run.resolve(value) if value is not None else None
    if type(value) is Choice:
        return in_common([leaf.shape if type(leaf) is Term else None for leaf in run.leaves(value)])
    return value.shape if type(value) is Term else None
