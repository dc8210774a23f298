"""Comments that silence findings: `# nndoctor: ignore[ND101] reason`, `# nndoctor: file-ignore[...]`, `# noqa: ND101`.

A comment counts for its own line, or, if it stands alone, for the line below. On the first or last line of a
statement that goes over several lines, or alone above it, it counts for the whole statement.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nndoctor.findings import Location
from nndoctor.scan.directives import EVERYTHING, Directive, Usage
from nndoctor.scan.lexing import line_starts, statement_end, statement_tokens

if TYPE_CHECKING:
    from nndoctor.scan.notebook import CellMap

_NOQA_OF_OURS = re.compile(r"noqa\s*:.*\bnd")
_DIRECTIVE = re.compile(r"#\s*nndoctor:\s*(?P<file>file-)?ignore\b(?:\s*\[(?P<selectors>[^\]]*)\])?", re.IGNORECASE)
_NOQA = re.compile(r"#\s*noqa\s*:(?P<selectors>(?:[\s,]*[A-Z]+[0-9]+\b)+)", re.IGNORECASE)
_OUR_CODE = re.compile(r"NDP?\d+", re.IGNORECASE)


class Suppressions:
    """What the comments of one file silence, and which of them did."""

    def __init__(self, text: str, display: str, cells: CellMap | None = None) -> None:
        self._display = display
        self._cells = cells
        self._directives: list[Directive] = []
        self._by_line: dict[int, list[Directive]] = {}
        self._used: set[Directive] = set()
        self._list_ends: dict[Location, Location] = {}  # of comments with brackets: where the last name ends
        if _may_hold_directives(text.lower()):
            self._read(text)

    def covers(self, code: str, name: str, location: Location) -> bool:
        """Whether a comment silences that rule there; the comment then counts as used."""
        at_line = self._at(location)
        found = [
            directive
            for directive in self._directives
            if (directive.whole_file or directive in at_line) and directive.matches(code, name)
        ]
        self._used.update(found)
        return bool(found)

    def lists_at(self, location: Location) -> list[Location]:
        """Where the comments that count for a place but not for the whole file can name one more rule."""
        ends = (self._list_ends.get(directive.location) for directive in self._at(location) if not directive.whole_file)
        return [end for end in ends if end is not None]

    def count(self, location: Location | None = None) -> int:
        """How many rules the comments name, or the comment at a place."""
        return sum(location in (None, directive.location) for directive in self._directives)

    def usages(self, line_text: Callable[[Location], str]) -> list[Usage]:
        """What all of them did so far, in the order of the text; `line_text` reads the line of a place."""
        return [Usage(each, line_text(each.location), each in self._used) for each in self._directives]

    def _at(self, location: Location) -> Sequence[Directive]:
        line = location.line
        if self._cells is not None and location.cell is not None:
            line = self._cells.program_line(location.cell, line)
        return self._by_line.get(line, ())

    def _read(self, text: str) -> None:
        above: list[Directive] = []  # of the comments that stand alone directly above the statement
        for statement in _statements(text):
            here = {comment.line: self._parse(comment) for comment in statement.comments}
            self._directives += (directive for directives in here.values() for directive in directives)
            if statement.kind == "comment":
                above += here[statement.first]
                continue
            whole = [*above, *here.get(statement.first, ()), *here.get(statement.last, ())]
            self._cover(statement.first, statement.last, whole)
            for comment in statement.comments:
                self._cover(comment.line, comment.line + comment.alone, here[comment.line])
            if statement.kind != "decorator":
                above = []

    def _cover(self, first: int, last: int, directives: list[Directive]) -> None:
        for line in range(first, last + 1) if directives else ():
            self._by_line.setdefault(line, []).extend(directives)

    def _parse(self, comment: _Comment) -> list[Directive]:
        location = self._locate(comment)
        directive = _DIRECTIVE.search(comment.text)
        if directive and directive["selectors"] is None:
            return [Directive(EVERYTHING, location, bool(directive["file"]))]
        if directive:
            column = location.column + directive.start("selectors") + len(directive["selectors"].rstrip(" \t,"))
            self._list_ends[location] = replace(location, column=column, end_column=column)
            return [Directive(word, location, bool(directive["file"])) for word in _words(directive["selectors"])]
        noqa = _NOQA.search(comment.text)
        words = _words(noqa["selectors"]) if noqa else []
        return [Directive(word, location, False) for word in words if _OUR_CODE.fullmatch(word)]

    def _locate(self, comment: _Comment) -> Location:
        cell, line = self._cells.locate(comment.line) if self._cells else (None, comment.line)
        return Location(self._display, line, comment.column, line, comment.column + len(comment.text), cell)


def _may_hold_directives(text: str) -> bool:
    """Most files hold none, and are spared the walk over their tokens."""
    return "nndoctor:" in text or ("noqa" in text and _NOQA_OF_OURS.search(text) is not None)


@dataclass(frozen=True, slots=True)
class _Comment:
    text: str
    line: int
    column: int
    alone: bool  # nothing else is on its line


@dataclass(frozen=True, slots=True)
class _Statement:
    kind: str  # "comment", "decorator" or "other"
    first: int
    last: int
    comments: tuple[_Comment, ...]


def _statements(text: str) -> Iterator[_Statement]:
    """The logical lines of a text; one that holds only a comment or nothing is one too."""
    lines = line_starts(text)
    start = 0
    while start < len(text):
        end = statement_end(text, start)
        kind = {"#": "comment", "@": "decorator"}.get(text[start:end].lstrip()[:1], "other")
        comments = tuple(_comment(token, text, lines) for token in statement_tokens(text, start) if token["comment"])
        yield _Statement(kind, bisect_right(lines, start), bisect_right(lines, end - 1), comments)
        start = end


def _comment(token: re.Match[str], text: str, lines: list[int]) -> _Comment:
    line = bisect_right(lines, token.start())
    before = text[lines[line - 1] : token.start()]
    return _Comment(token.group(), line, len(before) + 1, not before.strip())


def _words(selectors: str) -> list[str]:
    return re.findall(r"[^\s,]+", selectors)
