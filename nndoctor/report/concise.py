"""The concise report: one line a finding, in the form that editors and log matchers know."""

from __future__ import annotations

from collections import Counter

from nndoctor.findings import Failure, Finding, ProbeResult, Report
from nndoctor.report.text import printable


def render(report: Report) -> str:
    """`path:line:column: severity: CODE message` for each finding, then failures, probes and notes; else empty."""
    lines = [_finding(finding, report.target) for finding in report.findings]
    lines += [_failure(failure, report.target) for failure in report.failures]
    lines += [_probe(probe, report.target) for probe in report.probes]
    lines += [f"{report.target}: note: {note}" for note in report.notes]
    return "".join(printable(line) + "\n" for line in lines)


def statistics(report: Report) -> str:
    """How often each rule found something, the commonest first, and what could not be examined."""
    counts = Counter((finding.code, finding.name, finding.severity.value) for finding in report.findings)
    ordered = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    lines = [f"{number:>6}  {severity:<8} {code:<6} {name}" for (code, name, severity), number in ordered]
    lines += [_failure(failure, report.target) for failure in report.failures]
    return "".join(printable(line) + "\n" for line in lines)


def _finding(finding: Finding, target: str) -> str:
    return f"{finding.location or target}: {finding.severity.value}: {finding.code} {finding.message}"


def _failure(failure: Failure, target: str) -> str:
    code = f"{failure.code} " if failure.code else ""
    return f"{failure.location or target}: failure: {code}{failure.message}"


def _probe(probe: ProbeResult, target: str) -> str:
    return f"{target}: {probe.status}: {probe.code} {probe.name}: {probe.summary}"
