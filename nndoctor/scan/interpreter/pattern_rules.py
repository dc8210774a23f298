"""Shapes that patterns spell out: `torch.einsum("bij,bjk->bik", ...)` and `einops.rearrange(x, "b h d -> b (h d)")`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from nndoctor.scan.interpreter import shape_arguments as given
from nndoctor.scan.interpreter.axis_rules import some_size
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, Shape, dimension, merged, number, product
from nndoctor.scan.values import Const

_EQUATION = re.compile(r"([a-zA-Z]+(?:,[a-zA-Z]+)*)->([a-zA-Z]*)")
_AXES = re.compile(r"\(([^()]*)\)|(\w+)")
_PATTERN = re.compile(r"[\w\s()]+")  # without an ellipsis


def einsum(run: Machine, args: Any) -> Shape | None:
    """The shape of an einsum whose equation says what it leaves."""
    equation = _text(run, args.get(0, "equation"))
    match = _EQUATION.fullmatch(equation.replace(" ", "")) if equation is not None else None
    operands = given.items(run, args.positional[1:])
    if match is None or operands is None or args.open:
        return None
    letters = match[1].split(",")
    sizes: dict[str, Dim] = {}
    for names, operand in zip(letters, operands, strict=False):
        shape = given.shape_of(run, operand)
        for letter, dim in zip(names, (shape.unpack(len(names)) if shape is not None else None) or (), strict=False):
            if letter not in sizes or sizes[letter].is_one:
                sizes[letter] = dim
    return Shape(tuple(sizes.get(letter) or some_size() for letter in match[2])) if sizes else None


def _text(run: Machine, value: Any) -> str | None:
    value = run.resolve(value) if value is not None else None
    return value.value if type(value) is Const and isinstance(value.value, str) else None


def rearrange(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """The shape that a pattern of einops leaves; the order of the elements is as the pattern says."""
    sides = (_text(run, args.get(1, "pattern")) or "").split("->")
    if len(sides) != 2 or not all(_PATTERN.fullmatch(side) for side in sides) or args.open:
        return None
    left, right = map(_axes, sides)
    dims = shape.unpack(len(left))
    if dims is None:
        return None
    sizes = {name: dimension(run.resolve(v)) or some_size() for name, v in args.keywords.items() if name != "pattern"}
    for names, dim in zip(left, dims, strict=True):
        _share_out(names, dim, sizes)
    return Shape(tuple(_joined(names, sizes) for names in right))


def _axes(side: str) -> list[Sequence[str]]:
    """`b (h d)` as `[["b"], ["h", "d"]]`."""
    return [match[2].split() if match[2] else match[1].split() for match in _AXES.finditer(side)]


def _share_out(names: Sequence[str], dim: Dim, sizes: dict[str, Dim]) -> None:
    """Give the parts of one dimension their sizes: at most one of them is not told."""
    told = [name for name in names if name in sizes]
    untold = [name for name in names if name not in sizes and name != "1"]
    rest = dim.over(product([sizes[name] for name in told])) if len(untold) == 1 else None
    for name in untold:
        sizes[name] = rest or some_size()


def _joined(names: Sequence[str], sizes: dict[str, Dim]) -> Dim:
    dims = [number(1) if name == "1" else sizes.get(name) or some_size() for name in names]
    return dims[0] if len(dims) == 1 else merged(dims)
