"""Edits of text: what a file reads like once the edits of its fixes are made, all else left as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from nndoctor.findings import Edit, Location
from nndoctor.scan.lexing import NEWLINE, line_starts
from nndoctor.scan.notebook import raw_cells

BYTE_ORDER_MARK = "\ufeff"
_JSON_INDENT = re.compile(r"\{\n([ \t]+)")


class EditError(ValueError):
    """The text cannot be edited without changing more than the edits say."""


def edited(text: str, edits: Iterable[Edit], notebook: bool) -> str:
    """The text with the edits made; of a notebook, its JSON. Raises EditError for one that is laid out oddly."""
    if notebook:
        return _edited_notebook(text, list(edits))
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""  # which has no column
    return mark + _edited_text(text.removeprefix(mark), edits)


def overlap(some: Sequence[Edit], others: Iterable[Edit]) -> bool:
    """Whether two groups of edits cannot be made together: they touch the same text, or insert at the same place."""
    return any(_touch(a.location, b.location) for b in others for a in some)


def _touch(a: Location, b: Location) -> bool:
    (a_start, a_end), (b_start, b_end) = _span(a), _span(b)
    return (a.path, a.cell) == (b.path, b.cell) and (a_start == b_start or (a_start < b_end and b_start < a_end))


def _span(location: Location) -> tuple[tuple[int, int], tuple[int, int]]:
    assert location.end_line is not None and location.end_column is not None
    return (location.line, location.column), (location.end_line, location.end_column)


def _edited_text(text: str, edits: Iterable[Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: _span(edit.location), reverse=True):
        starts = line_starts(text)
        (line, column), (end_line, end_column) = _span(edit.location)
        start, end = _offset(text, starts, line, column), _offset(text, starts, end_line, end_column)
        newline = re.search(NEWLINE, text)
        inserted = edit.text.replace("\n", newline[0]) if newline else edit.text
        if start == len(text) and column == 1 and text and not text.endswith(("\n", "\r")):
            inserted = (newline[0] if newline else "\n") + inserted.rstrip("\r\n")
        text = text[:start] + inserted + text[end:]
    return text


def _offset(text: str, starts: list[int], line: int, column: int) -> int:
    return min(starts[line - 1] + column - 1, len(text)) if line <= len(starts) else len(text)


def _edited_notebook(text: str, edits: list[Edit]) -> str:
    notebook: dict[str, Any] = json.loads(text)
    indent = _JSON_INDENT.match(text)
    end = "\n" if text.endswith("\n") else ""

    def written(ascii_only: bool) -> str:
        return json.dumps(notebook, indent=indent[1] if indent else None, ensure_ascii=ascii_only) + end

    ascii_only = next((choice for choice in (False, True) if written(choice) == text), None)
    if ascii_only is None:
        raise EditError("its JSON is not laid out as Jupyter does")
    cells = raw_cells(notebook)
    for number in {edit.location.cell for edit in edits}:
        assert number is not None
        _edit_cell(cells[number - 1], [edit for edit in edits if edit.location.cell == number])
    return written(ascii_only)


def _edit_cell(cell: dict[str, Any], edits: list[Edit]) -> None:
    key = "source" if "source" in cell else "input"
    source = cell[key]
    before = "".join(source) if isinstance(source, list) else source
    if before[:1] in (" ", "\t"):
        raise EditError("a cell is indented")
    after = _edited_text(before, edits)
    cell[key] = after.splitlines(keepends=True) if isinstance(source, list) else after
