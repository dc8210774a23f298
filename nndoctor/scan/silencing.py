"""Write the comments that silence findings: `# nndoctor: ignore[ND101]` on the lines where they stand."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from nndoctor.findings import Edit, Location, Report
from nndoctor.requests import ScanRequest
from nndoctor.scan.editing import EditError, edited
from nndoctor.scan.engine import scan
from nndoctor.scan.hygiene import UNKNOWN, UNUSED
from nndoctor.scan.lexing import line_starts, statement_end, statement_tokens
from nndoctor.scan.source import UNREADABLE, SourceFile, source_of
from nndoctor.scan.treatment import Treatment, text_of, with_texts

MAX_ROUNDS = 3  # a comment changes its line, by which an old finding on it was known: it becomes new
NEW, MORE = "  # nndoctor: ignore[{}]", ", {}"
UNSILENCED = frozenset({UNREADABLE, UNUSED, UNKNOWN})  # these are about the file, and about such comments


def silence(request: ScanRequest, new: Callable[[Report], Report]) -> Treatment:
    """Give each finding its comment, in memory, and scan again to see that it is silent.

    `new` leaves out of a report the findings that are to have none.
    """
    silenced = Treatment(new(scan(request)))
    before = _number(silenced.report)
    notes: list[str] = []
    for _ in range(MAX_ROUNDS):
        texts = dict(silenced.after)
        for path, findings in _by_path(silenced.report).items():
            text = silenced.before.setdefault(path, text_of(path, request))
            try:
                texts[path] = _with_comments(request, path, texts.get(path, text), findings)
            except EditError as error:
                notes.append(f"{path} is left as it is: {error}")
        if texts == silenced.after:
            break
        silenced.after = texts
        silenced.report = new(scan(with_texts(request, texts)))
    silenced.fixed = before - _number(silenced.report)
    silenced.report = replace(silenced.report, notes=(*silenced.report.notes, *dict.fromkeys(notes)))
    return silenced


def _by_path(report: Report) -> dict[str, list[tuple[str, Location]]]:
    """Code and place of the findings that a comment can silence, by file."""
    places: dict[str, list[tuple[str, Location]]] = {}
    for finding in report.findings:
        if finding.location is not None and finding.code not in UNSILENCED:
            places.setdefault(finding.location.path, []).append((finding.code, finding.location))
    return places


def _number(report: Report) -> int:
    return sum(map(len, _by_path(report).values()))


def _with_comments(request: ScanRequest, path: str, text: str, findings: list[tuple[str, Location]]) -> str:
    source = source_of(request.root / path, request.root, text)
    return edited(text, _comments(source, findings), path.endswith(".ipynb"))


def _comments(source: SourceFile, findings: Iterable[tuple[str, Location]]) -> Iterator[Edit]:
    """An edit for each comment that is to be written, or to name more rules."""
    assert source.module is not None, "a file with findings can be parsed"  # from here on without its broken cells
    added: dict[tuple[Location, str], set[str]] = {}
    for code, location in findings:
        lists = source.suppressions.lists_at(location)
        spot = (lists[0], MORE) if lists else (_line_end(source, location), NEW)
        added.setdefault(spot, set()).add(code)
    for (place, form), codes in added.items():
        yield Edit(place, form.format(", ".join(sorted(codes))))


def _line_end(source: SourceFile, location: Location) -> Location:
    """The end of the line at which a comment counts for a place, with the blanks there."""
    cell, line = source.cell_line(_comment_line(source.text, source.program_line(location)))
    end = replace(location, cell=cell, line=line, column=1)
    text = source.line_text(end)
    return replace(end, column=len(text.rstrip()) + 1, end_line=line, end_column=len(text) + 1)


def _comment_line(text: str, line: int) -> int:
    """That line, or where a string or a backslash goes over its end, the last one of its statement."""
    starts = line_starts(text)
    start = 0
    while (end := statement_end(text, start)) <= starts[line - 1] and end < len(text):
        start = end
    ends = (token.start() for token in statement_tokens(text, start) if token.lastgroup == "newline")
    if any(bisect_right(starts, position) == line for position in ends):
        return line
    return bisect_right(starts, end - 1)
