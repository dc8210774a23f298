"""Scales: where on a drawing a value lies, which values get a tick, and what is written there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TICKS = 5
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# A few values far above all others, as after a divergence, would press the rest of a curve flat.
SPIKE = 3.0
USUAL = 0.9  # share of the values that are not spikes
ABOVE = 1.5  # of the height of the rest is shown of a spike
FAR = 2.0  # times the largest value of the curves, and a reference line is too far off to be drawn


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` lie from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is put on the border."""
        low, high, value = (self._even(each) for each in (self.low, self.high, value))
        span = high / 2 - low / 2  # halved, because the difference of two large floats may overflow
        share = (value / 2 - low / 2) / span if span > 0 else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def _even(self, value: float) -> float:
        return math.log10(max(value, 5e-324)) if self.log else value

    def ticks(self) -> list[float]:
        """Round values within the scale, a handful of them."""
        if self.log:
            return _decades(self.low, self.high)
        step = _round_step((self.high / 2 - self.low / 2) / TICKS * 2)
        if not step or not math.isfinite(step):
            return [self.low]
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def label(self, value: float) -> str:
        """What is written beside a tick."""
        if self.log:
            return "10" + str(round(math.log10(value))).translate(SUPERSCRIPTS)
        return short(value)


def short(value: float) -> str:
    """At most three digits: `0.0905`, `1e-6`, `12,000`."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if math.isfinite(value) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def aligned(values: Sequence[float]) -> list[str]:
    """A column of figures with the points below each other, unless one of them needs an exponent."""
    shown = [short(value) for value in values]
    if any("e" in figure or not math.isfinite(value) for figure, value in zip(shown, values, strict=True)):
        return shown
    decimals = max(len(figure.partition(".")[2]) for figure in shown)
    return [f"{value:,.{decimals}f}" for value in values]


def finite(values: Iterable[float]) -> list[float]:
    """Those that can be drawn."""
    return [value for value in values if math.isfinite(value)]


def value_range(curves: Sequence[Sequence[float]], references: Iterable[float]) -> tuple[float, float]:
    """What a vertical axis spans: the curves without their spikes, references that are not far, zero if it is near."""
    values = sorted(value for curve in curves for value in finite(curve))
    if not values:
        return 0.0, 1.0
    low, high = values[0], values[-1]
    usual = values[int(USUAL * (len(values) - 1))]
    if usual > low and high / SPIKE - low / SPIKE > usual - low:
        high = low + ABOVE * (usual - low)
    reach = FAR * max(abs(low), abs(high))
    near = [value for value in finite(references) if abs(value) <= reach]
    low, high = min([low, *near]), max([high, *near])
    if 0 < low < 0.4 * high:
        low = 0.0
    return (low, high) if high > low else (low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2)


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(math.ceil((last - first + 1) / (TICKS + 1)), 1)
    return [10.0**exponent for exponent in range(first, last + 1, step)]


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large as asked for."""
    if not least > 0 or not math.isfinite(least):
        return 0.0
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= least), 10 * power)
