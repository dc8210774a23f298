"""In which direction a measurement is better, for those of which that can be said without the rest of the report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nndoctor.findings import Figure

RELATIVE = 0.05  # a figure that moved by less is the same: other machines and other versions of torch round otherwise


@dataclass(frozen=True, slots=True)
class Direction:
    """Whether more is better, and the smallest difference that says something."""

    higher: bool
    matters: float


# Shares: a twentieth is one example of twenty, or one unit of twenty.
MORE = Direction(higher=True, matters=0.05)
FEWER = Direction(higher=False, matters=0.05)
# What is 0 in a healthy model, but for rounding: the probes call it more than that from 1e-4 on.
NOTHING = Direction(higher=False, matters=1e-4)

DIRECTIONS = {
    ("NDP03", "final loss"): FEWER,  # of a batch learned by heart: below a twentieth of a nat it is learned
    ("NDP03", "accuracy"): MORE,
    ("NDP04", "off_diagonal"): NOTHING,
    ("NDP04", "off_diagonal_train"): NOTHING,
    ("NDP04", "off_diagonal_gradient"): NOTHING,
    ("NDP07", "gain from the inputs"): MORE,
    ("NDP09", "largest share of dead units"): FEWER,
    ("NDP09", "largest share of saturated units"): FEWER,
    ("NDP11", "different examples in a batch"): MORE,
    ("NDP13", "outputs and loss apart"): NOTHING,
    ("NDP13", "gradients apart"): NOTHING,
    ("NDP17", "late flips"): FEWER,
    ("NDP19", "difference"): NOTHING,
    ("NDP19", "missing"): NOTHING,
    ("NDP19", "unexpected"): NOTHING,
    ("NDP21", "cosine of the gradients"): MORE,
    ("NDP24", "change without the padding"): NOTHING,
    ("NDP24", "change with other content there"): NOTHING,
}


def verdict(code: str, name: str, before: Figure, after: Figure) -> str | None:
    """`better`, `worse` or `moved` where the direction is unknown; None where the figure is the same."""
    if before == after or not (_is_number(before) and _is_number(after)):
        return None if before == after else "moved"
    assert isinstance(before, int | float)
    assert isinstance(after, int | float)
    if math.isnan(before) or math.isnan(after):
        return _of_nan(before, after)
    if math.isfinite(before - after) and abs(after - before) <= RELATIVE * max(abs(before), abs(after)):
        return None
    direction = DIRECTIONS.get((code, name))
    if direction is None:
        return "moved"
    if abs(after - before) <= direction.matters:
        return None
    return "better" if (after > before) == direction.higher else "worse"


def _of_nan(before: float, after: float) -> str | None:
    """No figure is worse than none."""
    if math.isnan(before) and math.isnan(after):
        return None
    return "worse" if math.isnan(after) else "better"


def _is_number(value: Figure) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
