"""The Code Quality report of GitLab: a JSON list that a merge request compares with that of its target branch."""

from __future__ import annotations

import json
from typing import Any

from nndoctor.findings import Failure, Finding, Location, Report, Severity
from nndoctor.report.fingerprints import fingerprints
from nndoctor.report.places import place_of, with_cell
from nndoctor.report.text import printable

SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}


def render(report: Report) -> str:
    """One entry for each finding and each failure; an empty list if there is none."""
    prints = fingerprints([*report.findings, *report.failures])
    entries = [_finding(finding, report.target) for finding in report.findings]
    entries += [_failure(failure, report.target) for failure in report.failures]
    document = [{**entry, "fingerprint": print_} for entry, print_ in zip(entries, prints, strict=True)]
    return json.dumps(document, indent=2) + "\n"


def _finding(finding: Finding, target: str) -> dict[str, Any]:
    location = place_of(finding).location
    message = with_cell(location, f"{finding.code} {finding.message}")
    return _entry(finding.code, SEVERITIES[finding.severity], message, location, target)


def _failure(failure: Failure, target: str) -> dict[str, Any]:
    message = with_cell(failure.location, failure.message)
    return _entry(failure.code or "nndoctor", "blocker", message, failure.location, target)


def _entry(code: str, severity: str, message: str, location: Location | None, target: str) -> dict[str, Any]:
    # GitLab wants a file and a line for each. Of a probe's target, `train.py:Net`, the file is the first part; the
    # line that a notebook's cell counts is none of its file.
    path = location.path if location else target.rpartition(":")[0] or target
    line = location.line if location and location.cell is None else 1
    return {
        "description": printable(" ".join(message.split())),
        "check_name": code,
        "severity": severity,
        "location": {"path": printable(path), "lines": {"begin": line}},
    }
