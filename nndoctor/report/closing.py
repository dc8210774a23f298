"""The end of a report for people: what was and what was not examined, and which command may help next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nndoctor.findings import Report
from nndoctor.report.text import plural

MANY = 20  # findings, from which on nobody goes through all of them at once: about a screen of concise lines


def examined(report: Report) -> str:
    """One sentence on what was looked at; empty where that was nothing at all."""
    noun, counts = ("file", _scanned(report)) if report.command == "scan" else ("probe", _probed(report))
    parts = [(number, what) for what, number in counts.items() if number]
    if not parts:
        return ""
    (number, what), *rest = parts
    return ", ".join([f"{plural(number, noun)} {what}", *(f"{number} {what}" for number, what in rest)]) + "."


def _scanned(report: Report) -> dict[str, int]:
    covered = report.coverage
    followed = 0 if covered.without_torch == len(covered.asked) > 0 else report.files
    return {
        "examined": followed - covered.unparsed,
        "without torch": covered.without_torch,
        "not parsed": covered.unparsed,
        "left out as unchanged": covered.unchanged,
        "cells of notebooks not parsed": covered.cells,
    }


def _probed(report: Report) -> dict[str, int]:
    numbers = Counter(probe.status for probe in report.probes)
    return {"run": numbers["ok"] + numbers["finding"], "skipped": numbers["skipped"], "failed": numbers["failed"]}


def next_steps(report: Report) -> list[str]:
    """Commands that a reader at a terminal may want now, each with what it is for."""
    return [*(_after_scan if report.command == "scan" else _after_probe)(report)]


def _after_scan(report: Report) -> Iterator[str]:
    fixes = [finding.fix for finding in report.findings if finding.fix is not None]
    if fixes:
        unsafe = "" if any(fix.safe for fix in fixes) else " --unsafe-fixes"
        subject, made = ("a fix", "it") if len(fixes) == 1 else (f"{len(fixes)} fixes", "them")
        yield f"`nndoctor scan {_target(report)} --diff{unsafe}` shows {subject}, `--fix{unsafe}` makes {made}."
    if len(report.findings) >= MANY:
        yield "`--statistics` counts them by rule, and `--baseline FILE --update-baseline` sets them aside as old."
    if not report.findings and not report.failures and report.coverage.without_torch < report.files:
        yield "`nndoctor probe FILE.py:MODEL --data FILE.py:LOADER` measures what only a run can show."


def _after_probe(report: Report) -> Iterator[str]:
    file = report.target.split(".py:")[0] + ".py" if ".py:" in report.target else "."
    if report.findings:
        yield f"`nndoctor scan {file}` looks for the cause in the code."
    if any(probe.status == "failed" for probe in report.probes):
        yield "`nndoctor env` says what a bug report about a probe that failed should name."


def _target(report: Report) -> str:
    return report.target if " " not in report.target else "..."
