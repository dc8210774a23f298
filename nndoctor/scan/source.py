"""SourceFile: one file on the table - its text, its tree, where its nodes stand, what its comments silence."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.findings import Failure, Location
from nndoctor.scan.disk import read_file
from nndoctor.scan.files import reported_path
from nndoctor.scan.lexing import NEWLINE, normal
from nndoctor.scan.notebook import CellMap, blank, read_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import libcst as cst

    from nndoctor.scan.positions import Positions
    from nndoctor.scan.suppressions import Suppressions

UNREADABLE = "ND001"
MAX_QUOTED = 2_000  # characters of a line; a longer one is data, and each finding on it would hold all of it

# PEP 263: in a comment on one of the first two lines.
_CODING = re.compile(rb"\A(?:[ \t\f]*(?:#[^\r\n]*)?\r?\n)?[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)")


def read_source(path: Path, root: Path, read: Callable[[Path], bytes] = read_file) -> SourceFile:
    """A `.py` or `.ipynb` file. Never raises: what is wrong with it is in its `failures`."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps the `..` in a path
    display = reported_path(absolute, root)
    try:
        text = _text(absolute, read(absolute))
    except OSError as error:
        return _unreadable(absolute, display, f"cannot read this file: {error.strerror or error}")
    except (UnicodeError, LookupError) as error:
        return _unreadable(absolute, display, f"cannot decode this file: {error}; save it as UTF-8")
    return _source(absolute, display, text)


def read_text(path: Path) -> str:
    """The text of a file as it stands there; raises OSError, or UnicodeError or LookupError if it is not text."""
    return _text(path, path.read_bytes())


def encoded(text: str, data: bytes) -> bytes:
    """A new text as the bytes of a file that held `data`."""
    return text.encode(_encoding(data))


def source_of(path: Path, root: Path, text: str) -> SourceFile:
    """A file that reads like `text`, whatever the disk says."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps the `..` in a path
    return _source(absolute, reported_path(absolute, root), text)


def source_from_text(text: str, display: str) -> SourceFile:
    """A file whose text comes from elsewhere, as from standard input; a notebook if `display` ends in .ipynb."""
    return _source(Path(os.path.abspath(display)), display, text)  # noqa: PTH100


class SourceFile:
    """One file; two are equal only if they are the same object."""

    __slots__ = (
        "_cells", "_failures", "_lines", "_module", "_parsed", "_positions", "_suppressions", "display", "path", "text",
    )  # fmt: skip

    def __init__(self, path: Path, display: str, text: str, cells: CellMap | None = None) -> None:
        self.path = path  # absolute
        self.display = display  # relative to the root, with forward slashes
        self.text = text  # what is parsed; a notebook's cells as one program
        self._cells = cells
        self._failures: tuple[Failure, ...] = ()
        self._lines: list[str] | None = None
        self._module: cst.Module | None = None
        self._parsed = False
        self._positions: Positions | None = None
        self._suppressions: Suppressions | None = None

    @property
    def module(self) -> cst.Module | None:
        """The tree, parsed when it is first asked for; none if it cannot be parsed."""
        if not self._parsed:
            self._parse()
        return self._module

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Why there is no tree; for a notebook, one for each cell that had to be skipped."""
        if not self._parsed:
            self._parse()
        return self._failures

    @property
    def suppressions(self) -> Suppressions:
        """What the comments of this file silence."""
        if self._suppressions is None:
            from nndoctor.scan.suppressions import Suppressions

            self._suppressions = Suppressions(self.text, self.display, self._cells)
        return self._suppressions

    def location(self, node: cst.CSTNode) -> Location:
        """Where a node of the tree stands; of a compound statement, its header."""
        if self._positions is None:
            from nndoctor.scan.positions import Positions

            module = self.module
            if module is None:
                raise KeyError(f"{self.display} has no tree")
            self._positions = Positions(module, self.text)
        line, column, end_line, end_column = self._positions.span(node)
        cell, first = self.cell_line(line)
        return Location(self.display, first, column, first + end_line - line, end_column, cell)

    def line_text(self, location: Location) -> str:
        """The line of text on which a location starts; empty if there is no such line."""
        if self._lines is None:
            self._lines = re.split(NEWLINE, self.text)
        line = self.program_line(location)
        return self._lines[line - 1] if 0 < line <= len(self._lines) else ""

    def quoted(self, location: Location) -> str:
        """That line as reports show it."""
        return self.line_text(location)[:MAX_QUOTED]

    def program_line(self, location: Location) -> int:
        """The line of `text` on which a location starts; of a notebook, that is its cells as one program."""
        if self._cells is None or location.cell is None:
            return location.line
        return self._cells.program_line(location.cell, location.line)

    def cell_line(self, line: int) -> tuple[int | None, int]:
        """The cell, if there are any, and the line within it of a line of `text`."""
        return (None, line) if self._cells is None else self._cells.locate(line)

    def _parse(self) -> None:
        from nndoctor.scan.parsing import SyntaxProblem, parse

        self._parsed = True
        tree = parse(self.text)
        if isinstance(tree, SyntaxProblem) and self._cells is not None:
            self._lines = re.split(NEWLINE, self.text)  # with the cells that are about to be skipped
            self.text = "".join(self._parsable_cells(self._cells))
            tree = parse(self.text)
        if isinstance(tree, SyntaxProblem):
            cell, line = self.cell_line(tree.line)
            self._fail(f"cannot parse this file: {tree.reason}", Location(self.display, line, tree.column, cell=cell))
        else:
            self._module = tree

    def _parsable_cells(self, cells: CellMap) -> Iterator[str]:
        """The text of each cell, or as many empty lines for one that cannot be parsed."""
        from nndoctor.scan.parsing import SyntaxProblem, parse

        for cell in cells.cells:
            tree = parse(cell.text)
            if isinstance(tree, SyntaxProblem):
                place = Location(self.display, tree.line, tree.column, cell=cell.number)
                self._fail(f"skipped a cell that cannot be parsed: {tree.reason}", place)
                yield blank(cell.text)
            else:
                yield cell.text

    def _fail(self, message: str, location: Location) -> None:
        self._failures = (*self._failures, Failure(message, UNREADABLE, location))


def _source(path: Path, display: str, text: str) -> SourceFile:
    text = normal(text)
    if path.suffix != ".ipynb":
        return SourceFile(path, display, text)
    try:
        cells = read_cells(text)
    except ValueError as error:
        return _unreadable(path, display, f"cannot read this notebook: {error}")
    return SourceFile(path, display, "".join(cell.text for cell in cells), CellMap(cells))


def _unreadable(path: Path, display: str, message: str) -> SourceFile:
    source = SourceFile(path, display, "")
    source._parsed = True
    source._fail(message, Location(display, 1))
    return source


def _text(path: Path, data: bytes) -> str:
    return _decode(data, "utf-8" if path.suffix == ".ipynb" else _encoding(data))


def _encoding(data: bytes) -> str:
    """What the file declares by PEP 263; UTF-8 if it declares nothing, or starts with a byte order mark."""
    cookie = None if data.startswith(codecs.BOM_UTF8) else _CODING.match(data)
    return cookie[1].decode("ascii") if cookie else "utf-8"


def _decode(data: bytes, encoding: str) -> str:
    """Raises UnicodeError or LookupError with the beginning of a sentence."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnicodeError(f"byte 0x{data[error.start]:02x} on line {line} is not {encoding}") from None
