"""Curves and matrices drawn in characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

BRAILLE = 0x2800
# Bit of each dot by column and level, the level counted from the bottom of the character.
DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
LEVELS = 4
SHADES = " ░▒▓█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The curve in at most `width` braille characters, two values a character; what is not finite leaves a gap."""
    points = _resample(values, min(2 * width, len(values)))
    finite = [value for value in points if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    dots = [_dot(value, low, high, column % 2) for column, value in enumerate(points)]
    dots += [0] * (len(dots) % 2)
    return "".join(chr(BRAILLE | left | right) for left, right in zip(dots[::2], dots[1::2], strict=True))


def heat(rows: Sequence[Sequence[float]], size: int) -> list[str]:
    """A matrix of magnitudes in shades, two characters a cell; at most `size` rows and columns, the first ones."""
    cells = [[abs(value) for value in row[:size]] for row in rows[:size]]
    top = max((value for row in cells for value in row if math.isfinite(value)), default=0.0)
    return ["".join(_shade(value, top) * 2 for value in row) for row in cells]


def _resample(values: Sequence[float], points: int) -> list[float]:
    """The last value of each of `points` equal stretches, so that the curve ends where the measurement ends."""
    return [values[math.ceil((index + 1) * len(values) / points) - 1] for index in range(points)]


def _dot(value: float, low: float, high: float, column: int) -> int:
    if not math.isfinite(value):
        return 0
    # halved, because the difference of two large floats may overflow
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.0
    return DOTS[column][min(int(share * LEVELS), LEVELS - 1)]


def _shade(value: float, top: float) -> str:
    if not math.isfinite(value):
        return "?"
    return SHADES[math.ceil(value / top * (len(SHADES) - 1))] if top > 0 else SHADES[0]
