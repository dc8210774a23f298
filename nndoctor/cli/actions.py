"""What `nndoctor scan` does about the findings: report them, fix or silence them, or list them as old."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nndoctor.cli.finish import stdout
from nndoctor.errors import UserError
from nndoctor.findings import Report
from nndoctor.report.output import CLEAN, FINDINGS
from nndoctor.report.text import plural, printable
from nndoctor.requests import ScanRequest

if TYPE_CHECKING:
    from nndoctor.baseline import Baseline
    from nndoctor.scan.treatment import Treatment


@dataclass(frozen=True, slots=True)
class Actions:
    """What the user asked for."""

    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    add_ignore: bool = False
    baseline: Path | None = None
    update_baseline: bool = False

    def check(self, writes_report: bool) -> None:
        """Raise UserError for what does not go together."""
        if self.diff and writes_report:
            raise UserError("--diff shows what would change and writes no report: leave the file out")
        if self.unsafe_fixes and not (self.fix or self.diff):
            raise UserError("--unsafe-fixes says which fixes to make: add --fix or --diff")
        if self.add_ignore and (self.fix or self.unsafe_fixes):
            raise UserError("--add-ignore silences what is left: run --fix first, then --add-ignore")
        if self.update_baseline and (self.fix or self.diff or self.add_ignore):
            raise UserError("--update-baseline lists what is left: run it after --fix or --add-ignore")
        if self.update_baseline and self.baseline is None:
            raise UserError("--update-baseline writes the file of old findings: name it with --baseline FILE")


def examined(request: ScanRequest, actions: Actions) -> Report:
    """The report on the files, or on what is left of it once the user's wish is done."""
    old = _old(actions)
    if actions.fix or actions.diff or actions.add_ignore:
        request = replace(request, cache=None)  # nobody's cache tells us what to write into a file
    if actions.add_ignore:
        return _silenced(request, old, actions.diff)
    report = _fixed(request, actions) if actions.fix or actions.diff else _scanned(request)
    if old is not None and actions.update_baseline:
        return _listed(report, old, request)
    return _new(report, old, request)


def _scanned(request: ScanRequest) -> Report:
    from nndoctor.scan import engine

    return engine.scan(request)


def _old(actions: Actions) -> Baseline | None:
    """The old findings, read before the work starts, so that a slip does not cost it."""
    if actions.baseline is None:
        return None
    from nndoctor.baseline import read_baseline

    return read_baseline(actions.baseline, may_be_new=actions.update_baseline)


def _new(report: Report, old: Baseline | None, request: ScanRequest) -> Report:
    """Without the old findings."""
    if old is None:
        return report
    from nndoctor.baseline import without_old

    return without_old(report, old, request)


def _listed(report: Report, old: Baseline, request: ScanRequest) -> Report:
    """Without any, as all are in the baseline now."""
    from nndoctor.baseline import total, updated, without_old, write_baseline

    now = updated(report, old, request)
    write_baseline(now)
    change = f"{old.file.name} lists {plural(total(now), 'finding')} now, {total(old)} before"
    return replace(report, findings=without_old(report, now, request).findings, notes=(*report.notes, change))


def _silenced(request: ScanRequest, old: Baseline | None, only_show: bool) -> Report:
    from nndoctor.scan.silencing import silence

    treatment = silence(request, lambda report: _new(report, old, request))
    told = _carried_out(treatment, request, only_show, "would silence" if only_show else "silenced")
    advice = f"{told}; say behind each comment why" if treatment.changed else told
    return replace(treatment.report, notes=(*treatment.report.notes, advice))


def _fixed(request: ScanRequest, actions: Actions) -> Report:
    from nndoctor.scan.treatment import treat

    treatment = treat(request, actions.unsafe_fixes)
    told = _carried_out(treatment, request, actions.diff, "would fix" if actions.diff else "fixed")
    return replace(treatment.report, notes=(*treatment.report.notes, told))


def _carried_out(treatment: Treatment, request: ScanRequest, only_show: bool, did: str) -> str:
    """Write the files and say so; with `only_show`, or for stdin, print and exit instead."""
    from nndoctor.scan.treatment import write

    told = _told(treatment, did)
    if only_show:
        _show("".join(_differences(treatment)), told)
        raise typer.Exit(FINDINGS if treatment.changed else CLEAN)
    if request.stdin is not None:
        _show(next(iter(treatment.after.values()), request.stdin), told)
        raise typer.Exit(FINDINGS if treatment.report.findings else CLEAN)
    write(treatment, request.root)
    return told


def _told(treatment: Treatment, did: str) -> str:
    files = len(treatment.changed)
    if files:
        return f"{did} {plural(treatment.fixed, 'finding')} in {plural(files, 'file')}"
    return "nothing to fix" if "fix" in did else "nothing to silence"


def _differences(treatment: Treatment) -> Iterator[str]:
    for path in treatment.changed:
        before, after = (text.splitlines(keepends=True) for text in (treatment.before[path], treatment.after[path]))
        for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _show(text: str, remark: str) -> None:
    """Print source code as it stands; on a terminal without what that would obey."""
    with stdout() as stream:
        stream.write("\n".join(map(printable, text.split("\n"))) if stream.isatty() else text)
    sys.stderr.write(f"{remark}\n")
