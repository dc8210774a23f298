"""The number that a value stands for: a constant, a default of the command line, or computed from these."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nndoctor.scan.interpreter.options import default_of
from nndoctor.scan.values import Choice, Const, Term, Value

MAX_DEPTH = 8  # of one formula
MAX_EXPONENT = 64

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_UNARY: dict[str, Callable[[Any], Any]] = {"neg": operator.neg, "number": int, "float number": float}


@dataclass(frozen=True, slots=True)
class Number:
    """A number, and whether it rests on a default that the command line may replace."""

    value: float
    is_default: bool = False


def number(value: Value, depth: int = MAX_DEPTH) -> Number | None:
    """The number that a value is, as far as constants and defaults tell; None if they do not."""
    kind = type(value)
    if kind is Const:
        return _constant(value.value)
    if not depth:
        return None
    if kind is Choice:
        one, other = number(value.then, depth - 1), number(value.otherwise, depth - 1)
        return one if one is not None and one == other else None
    if kind is not Term:
        return None
    default = default_of(value)
    if default is not None:
        found = number(default, depth - 1)
        return Number(found.value, True) if found is not None else None
    return _computed(value, depth)


def _constant(value: object) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:  # argparse converts a default that is text
        return Number(float(value)) if isinstance(value, str) else Number(value)
    except ValueError:
        return None


def _computed(term: Term, depth: int) -> Number | None:
    unary, binary = _UNARY.get(term.op), _BINARY.get(term.op)
    if (unary is None or len(term.inputs) != 1) and (binary is None or len(term.inputs) != 2):
        return None
    parts = [number(part, depth - 1) for part in term.inputs]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or (term.op == "**" and abs(known[1].value) > MAX_EXPONENT):
        return None
    try:
        value = (unary or binary)(*(part.value for part in known))  # type: ignore[misc]
    except (ArithmeticError, ValueError):
        return None
    if isinstance(value, complex) or not math.isfinite(value):
        return None
    return Number(value, any(part.is_default for part in known))
