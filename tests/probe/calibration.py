"""The whole check-up over the zoo: what is named, detected or missed, and what is falsely reported.

`pytest -m calibration` runs all of it; `PYTHONPATH=. python tests/probe/calibration.py [SEEDS] NAME...` a part.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import zoo

from nndoctor.findings import Finding, Report
from nndoctor.probe.differential import diagnose
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.executed import executed_lines
from nndoctor.probe.messages import Measured
from nndoctor.probe.registry import load_probes
from nndoctor.probe.scanned import scanned
from nndoctor.probe.worker import run
from nndoctor.requests import ScanRequest

SEEDS = (0, 1, 2)
NAMED, DETECTED, MISSED, FALSE, QUIET = "named", "detected", "missed", "false", "quiet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check-up made of a model."""

    name: str
    seed: int
    word: str
    first: str  # what it names first
    located: bool  # whether that is at the marked line, or its evidence
    others: tuple[str, ...]  # causes that it reports beside, without advice


def checked(name: str, seed: int) -> Report:
    """The check-up of a module of the zoo as the command line does it, in this process."""
    effort = EFFORTS["quick"]
    subject = zoo.subject(name, effort, seed=seed)
    lines = executed_lines(subject)
    messages = [run(code, subject, effort) for code in load_probes()]
    measured = [message for message in messages if isinstance(message, Measured)]
    request = zoo.request(name)
    report = Report(
        command="probe",
        target=request.model,
        findings=tuple(finding for message in measured for finding in message.findings),
        probes=tuple(message.result for message in measured),
        failures=tuple(message.failure for message in messages if not isinstance(message, Measured)),
        notes=subject.notes,
    )
    return diagnose(report, scanned(lines, ScanRequest((), request.root)), lines)


def judged(name: str, seed: int) -> Verdict:
    """Named: the cause of the zoo's table comes first; detected: something else does, or it comes later."""
    report = checked(name, seed)
    grave = [finding for finding in report.findings if not finding.is_advice]
    first, *others = [f"{finding.code} {finding.cause}" for finding in grave or report.findings[:1]] or [""]
    others += [f"{failure.code} failed: {failure.message}" for failure in report.failures]
    if name in zoo.HEALTHY:
        return Verdict(name, seed, FALSE if grave or report.failures else QUIET, first, True, tuple(others))
    wanted = zoo.CAUSES[name]
    word = NAMED if first.partition(" ")[2] == wanted else DETECTED if first else MISSED
    return Verdict(
        name, seed, word, first, bool(report.findings) and _is_located(name, report.findings[0]), tuple(others)
    )


def _is_located(name: str, finding: Finding) -> bool:
    """Whether the marked line is among the places; models made of torch's classes alone mark none."""
    if not (lines := zoo.sick_lines(name)):
        return True
    places = [finding.location, *(step.location for step in finding.evidence)]
    return any(place.path.endswith(f"{name}.py") and place.line in lines for place in places if place)


def line(verdict: Verdict) -> str:
    """One row of the table."""
    wanted = f"  (wanted: {zoo.CAUSES[verdict.name]})" if verdict.word in (DETECTED, MISSED) else ""
    wanted += "" if verdict.located else "  (at another line)"
    beside = f"  beside: {', '.join(verdict.others)}" if verdict.others else ""
    return f"{verdict.word:9} {verdict.seed}  {verdict.name:32} {verdict.first}{wanted}{beside}"


def summary(verdicts: Iterable[Verdict]) -> str:
    """The counts."""
    verdicts = list(verdicts)
    count = Counter(verdict.word for verdict in verdicts)
    located = sum(verdict.word == NAMED and verdict.located for verdict in verdicts)
    sick = count[NAMED] + count[DETECTED] + count[MISSED]
    return (
        f"{sick} sick: {count[NAMED]} named ({located} at their line), "
        f"{count[DETECTED]} detected, {count[MISSED]} missed; "
        f"{count[FALSE] + count[QUIET]} healthy: {count[FALSE]} with a finding"
    )


def main(arguments: list[str]) -> None:
    """Check what is named, or everything."""
    seeds = [int(text) for text in arguments if text.isdigit()] or [0]
    names = [text for text in arguments if not text.isdigit()] or [*zoo.SICK, *zoo.HEALTHY]
    verdicts = []
    for name in names:
        for seed in seeds:
            verdicts.append(judged(name, seed))
            print(line(verdicts[-1]), flush=True)
    print(summary(verdicts))


if __name__ == "__main__":
    main(sys.argv[1:])
