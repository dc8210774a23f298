"""Verdict: what came of examining one part of a tree, in plain values that can be kept and sent; and several as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nndoctor.findings import Confidence, Failure, Finding
from nndoctor.scan.directives import Usage


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that was run, or should have been."""

    path: str  # as reports call it
    asked: bool  # whether it was asked for, not only imported
    parsed: bool
    bad_cells: int  # of a notebook, that could not be parsed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in the files of one part and in those that they import."""

    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    usages: tuple[Usage, ...] = ()  # of the comments in these files that silence findings
    files: tuple[Examined, ...] = ()


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """All verdicts in one; of what several say of one place the surest is kept, and of equals the first."""
    findings: dict[object, Finding] = {}
    failures: dict[Failure, None] = {}
    usages: dict[object, Usage] = {}
    files: dict[str, Examined] = {}
    for verdict in verdicts:
        for finding in verdict.findings:
            known = findings.setdefault((finding.code, finding.location), finding)
            if _rank(finding) < _rank(known):
                findings[finding.code, finding.location] = finding
        failures.update(dict.fromkeys(verdict.failures))
        for usage in verdict.usages:
            known_usage = usages.setdefault(usage.directive, usage)
            usages[usage.directive] = replace(usage, used=usage.used or known_usage.used)
        for file in verdict.files:
            known_file = files.setdefault(file.path, file)
            files[file.path] = replace(file, asked=file.asked or known_file.asked)
    return Verdict(tuple(findings.values()), tuple(failures), tuple(usages.values()), tuple(files.values()))


def _rank(finding: Finding) -> int:
    return list(Confidence).index(finding.confidence)
