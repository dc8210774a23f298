"""Code frames: a place, its source line with carets under the span, and the steps that lead there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from nndoctor.findings import Evidence, Finding, Location
from nndoctor.report.prose import INDENT, LABEL, indented
from nndoctor.report.text import printable, span_in

GAP = 3
MAX_PLACE = 26  # a longer place stands on a line of its own, so that one deep path does not push all code aside
MAX_SOURCE = 80  # cells of a source line; the rest of a longer one is cut off
BEFORE_SPAN = 24  # characters that stay visible before the span when a long line is cut at its left


def code_frame(finding: Finding, style: str, width: int) -> Iterator[Text]:
    """The place of the finding and below it the located evidence, aligned by place, source line and message."""
    steps = [(step, step.location) for step in finding.evidence if step.location is not None]
    above = [finding.location, *(location for _, location in steps)]
    places = [_place(location, before) for (_, location), before in zip(steps, above, strict=False)]
    gutter = _gutter([*places, printable(str(finding.location or ""))])
    if finding.location is None:
        yield from indented(finding.message, INDENT, width)
    else:
        yield from _primary(finding, finding.location, gutter, style, width)
    yield from _steps(steps, places, gutter, width)


def _gutter(places: Sequence[str]) -> int:
    """Where the code starts: behind the longest place that is not too long, and at least where prose starts."""
    lengths = (INDENT + cell_len(place) + GAP for place in places if cell_len(place) <= MAX_PLACE)
    return max([INDENT + LABEL, *lengths])


def _primary(finding: Finding, location: Location, gutter: int, style: str, width: int) -> Iterator[Text]:
    source, start, span = _window(finding.source_line or "", location)
    yield from _row(printable(str(location)), gutter, Text(source))
    carets = Text(" " * (gutter + start)).append("^" * span, style) if source else Text(" " * (gutter - 1))
    message = printable(finding.message)
    if carets.cell_len + 1 + cell_len(message) <= width:
        yield carets.append(f" {message}")
    else:
        yield carets
        yield from indented(message, gutter, width)


def _steps(
    steps: Sequence[tuple[Evidence, Location]], places: Sequence[str], gutter: int, width: int
) -> Iterator[Text]:
    sources = [_window(step.source_line or "", location)[0] for step, location in steps]
    column = max(map(cell_len, sources), default=0) + GAP
    beside = all(gutter + column + cell_len(step.message) <= width for step, _ in steps)
    for (step, _), place, source in zip(steps, places, sources, strict=True):
        message = printable(step.message)
        if beside:
            yield from _row(place, gutter, Text(set_cell_size(source, column)).append(message, "italic"))
        else:
            yield from _row(place, gutter, Text(source))
            yield from indented(message, gutter + INDENT, width)


def _row(place: str, gutter: int, rest: Text) -> Iterator[Text]:
    head = Text(" " * INDENT).append(place, "cyan")
    if head.cell_len >= gutter:
        yield head
        head = Text()
    yield head.append(" " * (gutter - head.cell_len)).append(rest)


def _place(location: Location, above: Location | None) -> str:
    """The place of a step without its column, and without the path where the row above has the same."""
    place = printable(str(location)).rpartition(":")[0]
    if above is None or location.path != above.path:
        return place
    return f"line {location.line}" if location.cell is None else place.removeprefix(f"{printable(location.path)}:")


def _window(source_line: str, location: Location) -> tuple[str, int, int]:
    """What to show of a source line, and where in it, in cells, the span starts and how long it is."""
    line = printable(source_line.rstrip())
    start, end = span_in(line, location)
    cut, prefix = len(line) - len(line.lstrip()), ""
    if cell_len(line[cut:]) > MAX_SOURCE and start - cut > BEFORE_SPAN:
        cut, prefix = start - BEFORE_SPAN, "…"
    shown = prefix + line[cut:]
    if cell_len(shown) > MAX_SOURCE:
        shown = set_cell_size(shown, MAX_SOURCE - 1) + "…"
    before = cell_len(prefix + line[cut:start])
    span = min(cell_len(line[start:end]), cell_len(shown) - before)
    return shown, before, max(span, 1)
