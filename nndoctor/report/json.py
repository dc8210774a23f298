"""The JSON report, version 1; its form is documented in the README."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from nndoctor import __version__
from nndoctor.findings import (
    Coverage,
    Edit,
    Evidence,
    Failure,
    Finding,
    Fix,
    Location,
    ProbeResult,
    Report,
    Series,
    Severity,
)
from nndoctor.report.fingerprints import fingerprints

VERSION = 1


def render(report: Report) -> str:
    """One JSON document, the same for the same report."""
    return json.dumps(document(report), indent=2, allow_nan=False) + "\n"


def document(report: Report) -> dict[str, Any]:
    """The report as JSON holds it; figures that JSON lacks are "nan", "inf" and "-inf"."""
    prints = fingerprints(report.findings)
    parts = {
        "version": VERSION,
        "tool": {"name": "nndoctor", "version": __version__},
        "summary": _summary(report),
        "findings": [_finding(*pair) for pair in zip(report.findings, prints, strict=True)],
        "probes": [_probe(probe) for probe in report.probes],
        "failures": [_failure(failure) for failure in report.failures],
    }
    return {name: finite(part) for name, part in parts.items()}


def _summary(report: Report) -> dict[str, Any]:
    return {
        "command": report.command,
        "target": report.target,
        "files": report.files,
        "not_examined": _not_examined(report.coverage),
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "infos": report.count(Severity.INFO),
        "failures": len(report.failures),
        "by_rule": dict(sorted(Counter(finding.code for finding in report.findings).items())),
        "notes": list(report.notes),
    }


def _not_examined(coverage: Coverage) -> dict[str, int]:
    return {
        "without_torch": coverage.without_torch,
        "unparsed": coverage.unparsed,
        "cells": coverage.cells,
        "unchanged": coverage.unchanged,
    }


def _finding(finding: Finding, fingerprint: str) -> dict[str, Any]:
    end = finding.location
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "message": finding.message,
        **_place(finding.location),
        "end_line": end.end_line if end else None,
        "end_column": end.end_column if end else None,
        "evidence": [_evidence(step) for step in finding.evidence],
        "measurements": dict(finding.measurements),
        "treatment": finding.treatment,
        "fix": _fix(finding.fix) if finding.fix else None,
        "fingerprint": fingerprint,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {"message": fix.message, "safe": fix.safe, "edits": [_edit(edit) for edit in fix.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    span = edit.location
    return {**_place(span), "end_line": span.end_line, "end_column": span.end_column, "text": edit.text}


def _evidence(step: Evidence) -> dict[str, Any]:
    return {"message": step.message, **_place(step.location)}


def _probe(probe: ProbeResult) -> dict[str, Any]:
    return {
        "code": probe.code,
        "name": probe.name,
        "status": probe.status,
        "measurements": dict(probe.measurements),
        "series": {name: _series(series) for name, series in probe.series.items()},
        "seconds": probe.seconds,
        "steps": probe.steps,
        "timings": dict(probe.timings),
    }


def _series(series: Series) -> dict[str, Any]:
    return {
        "label": series.label,
        "values": series.values,
        "x": series.x,
        "x_label": series.x_label,
        "log_x": series.log_x,
        "references": dict(series.references),
        "y_label": series.y_label,
        "names": series.names,
        "marks": dict(series.marks),
        "band": series.band,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {"code": failure.code, "message": failure.message, **_place(failure.location)}


def _place(location: Location | None) -> dict[str, Any]:
    if location is None:
        return {"path": None, "line": None, "column": None, "cell": None}
    return {"path": location.path, "line": location.line, "column": location.column, "cell": location.cell}


def finite(value: Any) -> Any:
    """The same value with every float that JSON cannot hold written as a string."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
