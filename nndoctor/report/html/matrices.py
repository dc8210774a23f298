"""Matrices of magnitudes in a perceptually uniform colour map, with its legend; what is zero stays blank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nndoctor.findings import Series
from nndoctor.report.html.colours import colour
from nndoctor.report.html.drawing import WIDTH, Frame, drawing, text
from nndoctor.report.html.markup import Markup, element, joined, units
from nndoctor.report.html.scales import finite, short

MOST = 32  # rows and columns; of a larger matrix each cell is the largest of a block, so that nothing is hidden
NAMED = 16  # up to so many rows a cell tells its value when it is pointed at
CELL = 30.0  # at most
NOTHING = 1e-6  # of the largest value: rounding, and shown as zero
SHADES = 40  # of the legend
LEFT, TOP = 44.0, 24.0
LEGEND = 46.0  # the room below
Rows = list[list[float]]


def matrix(key: str, title: str, series: Series, *, is_causal: bool = False) -> Markup:
    """Rows from top to bottom; with `is_causal`, a line between what an output may see and what comes later."""
    rows = [[abs(value) for value in row] for row in series.values if isinstance(row, tuple)]
    blocks, block = _blocks(rows)
    top = max(finite(value for row in rows for value in row), default=0.0)
    size = min(CELL, (WIDTH - LEFT - 8) / max(map(len, blocks)), 330 / len(blocks))
    frame = Frame(LEFT, TOP, LEFT + size * max(map(len, blocks)), TOP + size * len(blocks))
    columns = list(series.x) if series.x else [float(index) for index in range(max(map(len, rows)))]
    return drawing(
        key,
        title,
        _description(series, rows, top),
        frame.bottom + 40 + LEGEND,
        text(series.y_label or "row", 0, 12, "axis"),
        *_cells(blocks, size, top, block, columns),
        _boundary(columns, len(rows), size) if is_causal and block == 1 else None,
        *_numbers(frame, size, block, columns, len(blocks)),
        text(series.x_label, (frame.left + frame.right) / 2, frame.bottom + 34, "axis", "middle"),
        _legend(top, frame.bottom + 50),
    )


def note(series: Series) -> str | None:
    """What the drawing does not show."""
    block = _blocks([list(row) for row in series.values if isinstance(row, tuple)])[1]
    return f"each cell is the largest of {block} by {block}" if block > 1 else None


def _blocks(rows: Rows) -> tuple[Rows, int]:
    """A matrix that is small enough, and how many rows and columns became one."""
    block = math.ceil(max(len(rows), *map(len, rows)) / MOST)
    if block == 1:
        return rows, 1
    return [
        [
            max(value for row in rows[y : y + block] for value in row[x : x + block])
            for x in range(0, max(map(len, rows)), block)
        ]
        for y in range(0, len(rows), block)
    ], block


def _cells(blocks: Rows, size: float, top: float, block: int, columns: Sequence[float]) -> Iterator[Markup]:
    for y, row in enumerate(blocks):
        for x, value in enumerate(row):
            where = f"{y}, {short(columns[x])}: {short(value)}" if block == 1 and len(blocks) <= NAMED else None
            yield element(
                "rect",
                element("title", where) if where else None,
                x=LEFT + x * size,
                y=TOP + y * size,
                width=size - min(1.0, size / 12),
                height=size - min(1.0, size / 12),
                **_paint(value, top),
            )


def _paint(value: float, top: float) -> dict[str, str]:
    if not math.isfinite(value):
        return {"class_": "broken"}
    return {"fill": colour(value / top)} if value > NOTHING * top else {"class_": "zero"}


def _numbers(frame: Frame, size: float, block: int, columns: Sequence[float], rows: int) -> Iterator[Markup]:
    """The numbers of rows and columns, as many as there is room for."""
    every = max(math.ceil(18 / size), 1)
    for y in range(0, rows, every):
        yield text(str(y * block), LEFT - 8, TOP + (y + 0.5) * size + 4, "tick", "end")
    for x in range(0, math.ceil(len(columns) / block), max(math.ceil(24 / size), 1)):
        yield text(short(columns[x * block]), frame.left + (x + 0.5) * size, frame.bottom + 16, "tick", "middle")


def _boundary(columns: Sequence[float], rows: int, size: float) -> Markup:
    """The stairs above which an output would see a step later than its own."""
    corners = []
    for row in range(rows):
        x = units(LEFT + sum(step <= row for step in columns) * size - 0.5)
        corners += [f"{x} {units(TOP + y * size - 0.5)}" for y in (row, row + 1)]
    return element("path", d="M" + "L".join(corners), class_="boundary")


def _legend(top: float, y: float) -> Markup:
    """From zero, which is blank, to the largest value."""
    width = 4.5
    start = LEFT + 48
    shades = [
        element("rect", x=start + index * width, y=y, width=width + 0.5, height="11", fill=colour(index / (SHADES - 1)))
        for index in range(SHADES)
    ]
    end = start + SHADES * width
    return joined(
        [
            element("rect", x=LEFT, y=y, width="11", height="11", class_="zero"),
            text("0", LEFT + 17, y + 10, "tick"),
            *shades,
            text(short(top), end + 8, y + 10, "tick"),
        ]
    )


def _description(series: Series, rows: Rows, top: float) -> str:
    diagonal = [row[index] for index, row in enumerate(rows) if index < len(row)]
    other = [value for y, row in enumerate(rows) for x, value in enumerate(row) if x != y]
    return (
        f"{series.label}: {len(rows)} by {max(map(len, rows))} values up to {short(top)}; on the diagonal up to "
        f"{short(max(finite(diagonal), default=0.0))}, elsewhere up to {short(max(finite(other), default=0.0))}."
    )
