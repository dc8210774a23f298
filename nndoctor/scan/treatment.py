"""Treat what can be treated: make the edits of fixes, scan again, and go on until nothing is left to fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nndoctor.atomic import replace_bytes
from nndoctor.errors import UserError
from nndoctor.findings import Edit, Finding, Report
from nndoctor.requests import ScanRequest
from nndoctor.scan.editing import EditError, edited, overlap
from nndoctor.scan.engine import scan
from nndoctor.scan.parsing import SyntaxProblem, parse
from nndoctor.scan.source import encoded, read_text

MAX_ROUNDS = 10  # one fix may make room for the next; no file was ever seen to need more than three rounds

Key = tuple[str, str]  # path and code of a finding


@dataclass(slots=True)
class Treatment:
    """What a treatment came to: the findings that are left, and of each treated file its old and new text."""

    report: Report
    fixed: int = 0
    before: dict[str, str] = field(default_factory=dict)  # by reported path
    after: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The paths of the files that read differently, sorted."""
        return sorted(path for path, text in self.after.items() if text != self.before[path])


def treat(request: ScanRequest, unsafe: bool) -> Treatment:
    """Make the fixes, of unsafe ones only if `unsafe`, in memory: nothing is written.

    A fix counts only if its file can still be parsed and has fewer findings of its code afterwards; others are undone.
    """
    treatment = Treatment(scan(request))
    given_up: set[Key] = set()
    for _ in range(MAX_ROUNDS):
        chosen = list(_compatible(treatment.report, unsafe, given_up))
        texts = dict(treatment.after)
        for path in {edit.location.path for finding in chosen for edit in _edits(finding)}:
            treatment.before.setdefault(path, texts.get(path) or text_of(path, request))
            concerned = [finding for finding in chosen if any(edit.location.path == path for edit in _edits(finding))]
            texts[path] = _made(path, texts.get(path, treatment.before[path]), concerned, given_up)
        if texts == treatment.after:
            break
        report = scan(with_texts(request, texts))
        useless = _useless(treatment.report, report, chosen)
        given_up |= useless
        if not useless:  # else leave out what did not help, and choose anew
            treatment.fixed += len(treatment.report.findings) - len(report.findings)
            treatment.report, treatment.after = report, texts
    return treatment


def write(treatment: Treatment, root: Path) -> None:
    """Put the new texts into their files, each at once: a reader sees the old file or the new one."""
    for path in treatment.changed:
        file = (root / path).resolve()
        try:
            replace_bytes(file, encoded(treatment.after[path], file.read_bytes()))
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _edits(finding: Finding) -> tuple[Edit, ...]:
    return finding.fix.edits if finding.fix is not None else ()


def _key(finding: Finding) -> Key:
    assert finding.location is not None
    return finding.location.path, finding.code


def _compatible(report: Report, unsafe: bool, given_up: set[Key]) -> Iterator[Finding]:
    """Fixes that can be made together; of those that touch each other, the first in the text."""
    taken: list[Edit] = []
    for finding in sorted(report.findings, key=_place):
        fix = finding.fix
        if fix is not None and (fix.safe or unsafe) and _key(finding) not in given_up and not overlap(fix.edits, taken):
            taken.extend(fix.edits)
            yield finding


def _place(finding: Finding) -> tuple[str, int, int, int]:
    assert finding.location is not None
    return finding.location.order


def _made(path: str, text: str, findings: list[Finding], given_up: set[Key]) -> str:
    """The text with the fixes made; if it cannot be parsed then, with those that leave it whole."""
    made = _edited(path, text, [edit for finding in findings for edit in _edits(finding)])
    if made is not None:
        return made
    kept: list[Edit] = []
    for finding in findings:
        if _edited(path, text, [*kept, *_edits(finding)]) is None:
            given_up.add(_key(finding))
        else:
            kept.extend(_edits(finding))
    return _edited(path, text, kept) or text


def _edited(path: str, text: str, edits: list[Edit]) -> str | None:
    notebook = path.endswith(".ipynb")
    try:
        made = edited(text, [edit for edit in edits if edit.location.path == path], notebook)
    except EditError:
        return None
    return made if notebook or not isinstance(parse(made), SyntaxProblem) else None


def _useless(before: Report, after: Report, chosen: list[Finding]) -> set[Key]:
    """The codes, by file, of which there are no fewer findings than before their fixes."""
    counts, left = _counts(before), _counts(after)
    return {key for key in map(_key, chosen) if left[key] >= counts[key]}


def _counts(report: Report) -> Counter[Key]:
    return Counter(map(_key, report.findings))


def text_of(path: str, request: ScanRequest) -> str:
    """What a file of a report reads like before its treatment."""
    return request.stdin if request.stdin is not None else read_text(request.root / path)


def with_texts(request: ScanRequest, texts: Mapping[str, str]) -> ScanRequest:
    """The same request for files that read otherwise."""
    if request.stdin is not None:
        return replace(request, stdin=next(iter(texts.values())))
    return replace(request, texts={request.root / path: text for path, text in texts.items()})
