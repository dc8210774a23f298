"""Curves on shared axes, with reference lines, vertical marks and the stretch that is as it should be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nndoctor.findings import Series
from nndoctor.report.html.drawing import LINE, WIDTH, Frame, axes, drawing, line, stacked, text, width_of
from nndoctor.report.html.markup import Markup, element, joined, units
from nndoctor.report.html.scales import Scale, finite, short, value_range

HEIGHT = 288.0
TOP = 26.0  # below the name of the vertical axis
MARK = 16.0  # of each row of names above the curves
COLOURS = 4
POINTS = 400  # a curve has no more; of a stretch its extremes are kept
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a reference line, and where it stands."""

    words: str
    x: float
    y: float
    anchor: str


def curves(key: str, title: str, group: Sequence[Series]) -> Markup:
    """Series with the same quantity and the same axis."""
    first = group[0]
    lines = [list(zip(_positions(series), _numbers(series), strict=True)) for series in group]
    marks = _marks(group, first.log_x)
    frame = Frame(46, TOP + MARK * len(marks), WIDTH - 8, HEIGHT - 44)
    references = {name: value for series in group for name, value in series.references.items()}
    across = Scale(*_reach(lines, marks, first.log_x), frame.left, frame.right, first.log_x)
    low, high = value_range([_numbers(series) for series in group], references.values())
    shown = {name: value for name, value in references.items() if low <= value <= high}
    on_top = sum(value > high - (high - low) / 10 for value in shown.values())  # their names need room
    up = Scale(low, high, frame.bottom, frame.top + LINE * on_top)
    drawn = [[(across(x), up(y)) for x, y in part] for curve in lines for part in _parts(curve)]
    return drawing(
        key,
        title,
        _description(group, marks, references),
        HEIGHT,
        _band(first, across, frame),
        axes(frame, across, up, (first.x_label, first.y_label)),
        joined(line(frame.left, up(value), frame.right, up(value), "reference") for value in shown.values()),
        joined(_marked(marks, across, frame)),
        joined(_curve(number, curve, across, up) for number, curve in enumerate(lines)),
        joined(_labels(shown, up, frame, drawn)),
    )


def notes(group: Sequence[Series]) -> list[str]:
    """What the drawing leaves out."""
    low, high = value_range(
        [_numbers(series) for series in group], [value for series in group for value in series.references.values()]
    )
    said = []
    for series in group:
        values = _numbers(series)
        if outside := [value for value in finite(values) if value > high]:
            said.append(f"cut off at the top: up to {short(max(outside))}")
        if broken := len(values) - len(finite(values)):
            first = next(index for index, value in enumerate(values) if not math.isfinite(value))
            said.append(f"not finite {broken} times, first at {series.x_label} {short(_positions(series)[first])}")
        said += [
            f"{name} {short(value)} lies outside"
            for name, value in series.references.items()
            if not low <= value <= high
        ]
    return said


def _numbers(series: Series) -> list[float]:
    return [value for value in series.values if not isinstance(value, tuple)]


def _positions(series: Series) -> list[float]:
    """Steps are counted from 1 where nothing else is said."""
    count = len(_numbers(series))
    return list(series.x[:count]) if series.x and len(series.x) >= count else [float(n) for n in range(1, count + 1)]


def _place(mark: tuple[str, float]) -> float:
    return mark[1]


def _marks(group: Sequence[Series], log: bool) -> dict[str, float]:
    """Those that have a place on the axis, from left to right."""
    every = [mark for series in group for mark in series.marks.items()]
    placed = ((name, x) for name, x in every if math.isfinite(x) and (x > 0 or not log))
    return dict(sorted(placed, key=_place))


def _reach(lines: Sequence[Sequence[Point]], marks: Mapping[str, float], log: bool) -> tuple[float, float]:
    places = [x for curve in lines for x, _ in curve if math.isfinite(x) and (x > 0 or not log)] + [*marks.values()]
    if not places:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(places), max(places)
    if high > low:
        return low, high
    return (low / 2, low * 2) if log else (low - 0.5, low + 0.5)


def _parts(curve: Sequence[Point]) -> Iterator[list[Point]]:
    """The stretches between what is not finite, of not too many points."""
    part: list[Point] = []
    for point in [*curve, (math.nan, math.nan)]:
        if all(map(math.isfinite, point)):
            part.append(point)
        elif part:
            yield _thinned(part)
            part = []


def _thinned(part: list[Point]) -> list[Point]:
    if len(part) <= POINTS:
        return part
    size = math.ceil(len(part) / (POINTS / 2))
    stretches = [part[start : start + size] for start in range(0, len(part), size)]
    kept = [sorted({min(each, key=_height), max(each, key=_height)}) for each in stretches]
    return [part[0], *(point for each in kept for point in each), part[-1]]


def _height(point: Point) -> float:
    return point[1]


def _curve(number: int, curve: Sequence[Point], across: Scale, up: Scale) -> Markup:
    """The line, with a dot at its end if that is within the drawing."""
    places = [[(across(x), y) for x, y in part] for part in _parts(curve)]
    shown = [[(x, up(y)) for x, y in part] for whole in places for part in _below(whole, up.high)]
    ends = [part[-1] for part in shown[-1:] if places[-1][-1][1] <= up.high]
    dots = [element("circle", cx=x, cy=y, r="3", class_=f"end end-{number % COLOURS}") for x, y in ends]
    return joined([*(polyline(part, number) for part in shown), *dots])


def _below(part: Sequence[Point], high: float) -> Iterator[list[Point]]:
    """The stretches of a line that do not lie above `high`, each up to where it crosses it."""
    stretch: list[Point] = []
    for (x, y), (before, height) in zip(part, [part[0], *part], strict=False):
        if (y > high) != (height > high):
            rise = y / 2 - height / 2  # halved, because the difference of two large floats may overflow
            share = (high / 2 - height / 2) / rise if rise else 0.0
            stretch.append((before + share * (x - before), high))
        if y <= high:
            stretch.append((x, y))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def polyline(points: Sequence[Point], number: int) -> Markup | None:
    """A line through places on a drawing, in the colour of the curve with that number; a single one is a dot."""
    if not points:
        return None
    corners = [f"{units(x)} {units(y)}" for x, y in points]
    path = "M" + "L".join(corners if len(corners) > 1 else corners * 2)
    return element("path", d=path, class_=f"curve curve-{number % COLOURS}")


def _band(series: Series, across: Scale, frame: Frame) -> Markup | None:
    if series.band is None or not all(map(math.isfinite, series.band)):
        return None
    left, right = (across(x) for x in series.band)
    height = frame.bottom - frame.top
    return element("rect", x=left, y=frame.top, width=max(right - left, 1.0), height=height, class_="band")


def _marked(marks: Mapping[str, float], across: Scale, frame: Frame) -> Iterator[Markup]:
    """Vertical lines with their names in rows above: to the left, the last on top, so that no line crosses a name."""
    widths = {name: width_of(f"{name} {short(value)}") + 6 for name, value in marks.items()}
    leftward = all(across(value) > widths[name] for name, value in marks.items())
    for row, (name, value) in enumerate(sorted(marks.items(), key=_place, reverse=leftward)):
        x, y = across(value), TOP + MARK * row + 6
        turned = leftward or x + widths[name] > frame.right
        yield line(x, y - 5, x, frame.bottom, "mark")
        yield text(f"{name} {short(value)}", x - 5 if turned else x + 5, y + 4, "note", "end" if turned else "start")


def _labels(shown: Mapping[str, float], up: Scale, frame: Frame, drawn: Sequence[Sequence[Point]]) -> Iterator[Markup]:
    """The names of the reference lines: each at the side where the curves leave more room, none upon another."""
    labels = [_label(f"{name} {short(value)}", up(value) - 4, frame, drawn) for name, value in shown.items()]
    for side in ("start", "end"):
        here = sorted((label for label in labels if label.anchor == side), key=lambda label: label.y)
        places = stacked([label.y for label in here], frame.top + LINE - 4)
        for label, y in zip(here, places, strict=True):
            yield text(label.words, label.x, y, "note", label.anchor)


def _label(words: str, y: float, frame: Frame, drawn: Sequence[Sequence[Point]]) -> Label:
    width = width_of(words)
    left, right = frame.left + 6, frame.right - 4
    room = {
        "end": _distance(drawn, right - width, right, y - 4),
        "start": _distance(drawn, left, left + width, y - 4),
    }
    anchor = max(room, key=lambda side: room[side])
    return Label(words, right if anchor == "end" else left, y, anchor)


def _distance(drawn: Sequence[Sequence[Point]], left: float, right: float, y: float) -> float:
    """From the text to the nearest point of a curve above or below it."""
    return min((abs(point[1] - y) for part in drawn for point in part if left <= point[0] <= right), default=math.inf)


def _description(group: Sequence[Series], marks: Mapping[str, float], references: Mapping[str, float]) -> str:
    sentences = [_course(series) for series in group]
    if references:
        sentences.append("Lines: " + ", ".join(f"{name} {short(value)}" for name, value in references.items()))
    if marks:
        sentences.append("Marks: " + ", ".join(f"{name} {short(value)}" for name, value in marks.items()))
    if band := group[0].band:
        sentences.append(f"Good from {short(band[0])} to {short(band[1])}")
    return ". ".join(sentences) + "."


def _course(series: Series) -> str:
    values = finite(_numbers(series))
    if not values:
        return f"{series.label}: no finite value"
    return (
        f"{series.label}: {len(values)} values from {short(values[0])} to {short(values[-1])}, lowest "
        f"{short(min(values))}, highest {short(max(values))}"
    )
