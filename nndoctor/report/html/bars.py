"""Figures of named things, such as layers and classes, as bars; very many as columns without names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from nndoctor.findings import Series
from nndoctor.report.html.drawing import LETTER, WIDTH, Frame, axes, drawing, line, text, width_of
from nndoctor.report.html.markup import Markup, element, joined
from nndoctor.report.html.scales import Scale, finite, short

MOST_NAMES = 32
ROW, BAR = 20.0, 12.0
NAMES = 168.0  # the widest column of names
HEIGHT = 220.0  # of columns
DECADES = 1e3  # figures that differ more than that are drawn on a logarithmic scale


def bars(key: str, title: str, series: Series) -> Markup:
    """A bar for each name, or a column where there are too many to be named."""
    values = [value for value in series.values if not isinstance(value, tuple)]
    scale = _limits(values, series.references.values())
    draw = _rows if len(values) <= MOST_NAMES else _columns
    return draw(key, title, series, values, scale)


def is_logarithmic(series: Series) -> bool:
    """Whether the bars have no zero, because the figures differ by powers of ten."""
    return _limits([value for value in series.values if not isinstance(value, tuple)], series.references.values())[2]


def _limits(values: Sequence[float], references: Iterable[float]) -> tuple[float, float, bool]:
    """The lowest and highest value of the axis, and whether it is logarithmic."""
    known = [*finite(values), *finite(references)]
    positive = [value for value in known if value > 0]
    if positive and min(known) >= 0 and max(positive) > DECADES * min(positive):
        return 10.0 ** math.floor(math.log10(min(positive)) - 0.1), max(positive), True
    low, high = min([0.0, *known]), max([0.0, *known])
    return low, high if high > low else 1.0, False


def _rows(key: str, title: str, series: Series, values: list[float], limits: tuple[float, float, bool]) -> Markup:
    names = _short_names(series.names)
    left = min(max((width_of(name) for name in names), default=0.0) + 16, NAMES)
    right = WIDTH - max(width_of(short(value)) for value in values) - 10
    bottom = 6 + ROW * len(values)
    scale = Scale(limits[0], limits[1], left, right, limits[2])
    parts = [
        _row(name, names[index], value, 6 + ROW * index, scale)
        for index, (name, value) in enumerate(zip(series.names, values, strict=False))
    ]
    below = list(_references(series, scale, bottom))
    height = bottom + 8 + 16 * len(series.references)
    return drawing(
        key, title, _description(series, values), height, line(left, 4, left, bottom, "base"), *parts, *below
    )


def _short_names(names: Sequence[str]) -> list[str]:
    """As far as there is room: without the parts that all have in common, and of what is still too long the end."""
    most = int((NAMES - 10) / LETTER)
    parts = [name.split(".") for name in names]
    if max(map(len, names)) > most and len(names) > 1:
        shortest = min(map(len, parts)) - 1
        ends = next((n for n in range(shortest) if len({part[-1 - n] for part in parts}) > 1), shortest)
        starts = next((n for n in range(shortest - ends) if len({part[n] for part in parts}) > 1), shortest - ends)
        parts = [part[max(starts - 1, 0) : len(part) - ends] for part in parts]
    short_names = map(".".join, parts)
    return [name if len(name) <= most else "…" + name[1 - most :] for name in short_names]


def _row(full: str, name: str, value: float, y: float, scale: Scale) -> Markup:
    zero = scale(scale.low if scale.log else 0.0)
    end = scale(value) if math.isfinite(value) else zero
    left, right = min(zero, end), max(zero, end)
    return joined(
        [
            element("text", element("title", full), name, x=scale.start - 7, y=y + 11,
                    class_="tick", text_anchor="end"),
            element("rect", x=left, y=y + 1, width=max(right - left, 0.0), height=BAR, class_="bar"),
            text(short(value), right + 6, y + 11, "figure"),
        ]
    )  # fmt: skip


def _references(series: Series, scale: Scale, bottom: float) -> Iterator[Markup]:
    """Lines across all bars, named below them."""
    for row, (name, value) in enumerate(series.references.items()):
        if not math.isfinite(value):
            continue
        x, y = scale(value), bottom + 14 + 16 * row
        words = f"{name} {short(value)}"
        turned = x + width_of(words) > WIDTH
        yield line(x, 4, x, y, "reference")
        yield text(words, x - 5 if turned else x + 5, y, "note", "end" if turned else "start")


def _columns(key: str, title: str, series: Series, values: list[float], limits: tuple[float, float, bool]) -> Markup:
    frame = Frame(46, 26, WIDTH - 8, HEIGHT - 44)
    up = Scale(limits[0], limits[1], frame.bottom, frame.top, limits[2])
    across = Scale(0.0, float(len(values)), frame.left, frame.right)
    zero = up(up.low if up.log else 0.0)
    step = (frame.right - frame.left) / len(values)
    columns = []
    for index, value in enumerate(values):
        y = up(value) if math.isfinite(value) else zero
        name = series.names[index] if index < len(series.names) else str(index)
        shape = {"x": across(float(index)), "y": min(y, zero), "width": step * 0.8, "height": abs(y - zero)}
        columns.append(element("rect", element("title", f"{name}: {short(value)}"), **shape, class_="bar"))
    references = [
        line(frame.left, up(value), frame.right, up(value), "reference") for value in finite(series.references.values())
    ]
    named = ", ".join(f"{name} {short(value)}" for name, value in series.references.items())
    return drawing(
        key,
        title,
        _description(series, values),
        HEIGHT,
        axes(frame, across, up, (series.x_label, series.y_label)),
        *columns,
        *references,
        text(f"┄ {named}", WIDTH - 8, 12, "axis", "end") if named else None,
    )


def _description(series: Series, values: list[float]) -> str:
    named = [f"{name} {short(value)}" for name, value in zip(series.names, values, strict=False)]
    shown = ", ".join(named[:MOST_NAMES]) + (f", and {len(named) - MOST_NAMES} more" if len(named) > MOST_NAMES else "")
    lines = ", ".join(f"{name} {short(value)}" for name, value in series.references.items())
    return f"{series.label}: {shown}." + (f" Lines: {lines}." if lines else "")
