"""`nndoctor scan --fix` and `--diff`: write what was treated, or show it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from dataclasses import replace

import typer

from nndoctor.cli.finish import stdout
from nndoctor.findings import Report
from nndoctor.report.output import CLEAN, FINDINGS
from nndoctor.report.text import plural
from nndoctor.requests import ScanRequest
from nndoctor.scan.treatment import Treatment, treat, write


def treated(request: ScanRequest, unsafe: bool, only_show: bool) -> Report:
    """Fix the files and return the report on what is left; with `only_show`, or for stdin, print and exit instead."""
    treatment = treat(request, unsafe)
    if only_show:
        _show("".join(_differences(treatment)), _told(treatment, "would fix"))
        raise typer.Exit(FINDINGS if treatment.changed else CLEAN)
    if request.stdin is not None:
        _show(next(iter(treatment.after.values()), request.stdin), _told(treatment, "fixed"))
        raise typer.Exit(FINDINGS if treatment.report.findings else CLEAN)
    write(treatment, request.root)
    return replace(treatment.report, notes=(*treatment.report.notes, _told(treatment, "fixed")))


def _told(treatment: Treatment, did: str) -> str:
    files = len(treatment.changed)
    return f"{did} {plural(treatment.fixed, 'finding')} in {plural(files, 'file')}" if files else "nothing to fix"


def _differences(treatment: Treatment) -> Iterator[str]:
    for path in treatment.changed:
        before, after = (text.splitlines(keepends=True) for text in (treatment.before[path], treatment.after[path]))
        for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _show(text: str, remark: str) -> None:
    with stdout() as stream:
        stream.write(text)
    sys.stderr.write(f"{remark}\n")
