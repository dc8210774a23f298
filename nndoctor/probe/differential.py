"""Differential diagnosis: all findings, of the probes and of the scan, become a ranked list of causes with evidence.

One cause is one finding: of several that see the same fault, the one that names it best is kept, the others become its
evidence. What the scan says is confirmed by a figure, withdrawn because of one, or left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nndoctor.findings import Confidence, Evidence, Failure, Finding, Location, Report
from nndoctor.probe.causes import known, stated_by
from nndoctor.probe.refuting import refutation

Lines = Mapping[str, Sequence[int]]
"""By path, the lines of the user's files that the check-up has run."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A finding with the causes that it may mean: one for a probe, several for some rules of the scan."""

    finding: Finding
    causes: frozenset[str]
    is_scan: bool = False
    was_run: bool = True  # the code that it is about, in this check-up

    @property
    def stage(self) -> int:
        """The earliest at which one of its causes acts; what is not listed comes last."""
        return min((known(cause).stage for cause in self.causes), default=known("").stage)

    @property
    def explained(self) -> frozenset[str]:
        """The causes that are no more than its symptoms."""
        return frozenset[str]().union(*(known(cause).explains for cause in self.causes))


def diagnose(report: Report, scanned: Iterable[Finding], lines: Lines) -> Report:
    """The report with one finding a cause, the most urgent first; `scanned` is what the scan says of the files."""
    probed = [Suspect(finding, frozenset({finding.cause or finding.name})) for finding in report.findings]
    read = [
        Suspect(finding, stated_by(finding.code), is_scan=True, was_run=_was_run(finding, lines)) for finding in scanned
    ]
    kept, withdrawn = [], []
    for head, followers in _grouped([*probed, *read]):
        against = None if followers else _refuted(head, report)
        if against:
            withdrawn.append(_withdrawal(head.finding, against))
        elif followers or not (head.is_scan and head.finding.is_advice):
            kept.append((head, _composed(head, followers)))
    return replace(
        report,
        findings=_ranked(kept),
        failures=tuple(failure for failure in report.failures if not _is_explained(failure, report.findings)),
        notes=(*report.notes, *withdrawn),
    )


# ------------------------------------------------------------------------------------------------- one a cause


def _grouped(suspects: Sequence[Suspect]) -> list[tuple[Suspect, list[Suspect]]]:
    """Each suspect that nothing explains, with those that lead to it."""
    leaders = [_leader(each, suspects) for each in suspects]
    followers: dict[int, list[Suspect]] = {number: [] for number, leader in enumerate(leaders) if leader is None}
    for number, suspect in enumerate(suspects):
        root = _root(number, leaders)
        if root != number:
            followers.setdefault(root, []).append(suspect)
    return [(suspects[number], found) for number, found in followers.items()]


def _root(number: int, leaders: Sequence[int | None]) -> int:
    """Whom everybody on the way up follows; the first again where the way is a circle."""
    passed = {number}
    while (above := leaders[number]) is not None and above not in passed:
        passed.add(above)
        number = above
    return number if above is None else min(passed)


def _leader(suspect: Suspect, suspects: Sequence[Suspect]) -> int | None:
    """The number of the best suspect that says the same better, or explains this one; None for a cause of its own."""
    better = [number for number, other in enumerate(suspects) if other is not suspect and _leads(other, suspect)]
    if not better:
        return None
    return min(better, key=lambda number: (*_likeness(suspects[number], suspect), suspects[number].stage, number))


def _likeness(leader: Suspect, suspect: Suspect) -> tuple[bool, bool]:
    """Sorts those first that say the same, and of them those at the same place."""
    agree = bool(leader.causes & suspect.causes)
    return not agree, not _places(leader.finding) & _places(suspect.finding)


def _leads(other: Suspect, suspect: Suspect) -> bool:
    if (other.is_scan and suspect.is_scan) or not other.was_run:
        return False
    if not other.is_scan and other.finding.code == suspect.finding.code:
        return bool(other.explained & suspect.causes)  # a probe that reports twice means two faults
    if other.causes & suspect.causes:
        return _clarity(other) < _clarity(suspect)
    if other.finding.is_advice and not suspect.finding.is_advice:
        return False  # what does little harm explains no great one
    return suspect.was_run and bool(other.explained & suspect.causes)


def _clarity(suspect: Suspect) -> tuple[object, ...]:
    """Lower for who names the cause better: with figures, sure, and to the line of the operation."""
    finding = suspect.finding
    vague = finding.location is None or _is_header(finding)
    return (suspect.is_scan, list(Confidence).index(finding.confidence), vague, finding.code, finding.order)


def _is_header(finding: Finding) -> bool:
    """Whether it points at no more than the beginning of a class or function."""
    return (finding.source_line or "").lstrip().startswith(("class ", "def "))


def _places(finding: Finding) -> set[tuple[str, int]]:
    places = (finding.location, *(step.location for step in finding.evidence))
    return {(place.path, place.line) for place in places if place}


# ------------------------------------------------------------------------------------------------- what it says


def _composed(head: Suspect, followers: Sequence[Suspect]) -> Finding:
    finding = head.finding
    name = min(head.causes, key=lambda cause: (known(cause).stage, cause), default="")
    agreeing = [each for each in followers if each.causes & head.causes]
    confirmed = any(each.is_scan != head.is_scan for each in agreeing)
    sure = [finding.confidence, *(each.finding.confidence for each in agreeing)]
    confidence = Confidence.CERTAIN if confirmed else min(sure, key=list(Confidence).index)
    everyone = [finding, *(each.finding for each in followers)]
    return replace(
        finding,
        severity=min((each.severity for each in everyone), key=lambda severity: severity.rank),
        confidence=confidence,
        treatment=_treatment(head, name, confidence),
        evidence=(*finding.evidence, *(step for each in followers for step in _steps(head, each))),
        measurements={**finding.measurements, "cause": name} if name else finding.measurements,
    )


def _treatment(head: Suspect, cause: str, confidence: Confidence) -> str:
    settle = known(cause).settle
    doubtful = confidence is not Confidence.CERTAIN and settle and not head.is_scan
    if not doubtful:
        return head.finding.treatment
    return f"{head.finding.treatment.rstrip()} In doubt, {settle[0].lower()}{settle[1:]}"


def _steps(head: Suspect, follower: Suspect) -> list[Evidence]:
    """What another finding adds: its own sentence, and for the scan the path that proves it."""
    finding = follower.finding
    name = f"{finding.code} {finding.name}" + (" of the scan" if follower.is_scan else "")
    if not head.causes & follower.causes:
        text = f"this explains {name}: {finding.message}"
    elif follower.is_scan:
        text = f"this confirms {name}: {finding.message}"
    else:
        text = f"{name} agrees: {finding.message}"
    return [Evidence(text, *_news(head.finding, finding)), *(finding.evidence if follower.is_scan else ())]


def _news(head: Finding, finding: Finding) -> tuple[Location | None, str | None]:
    """The place of a finding, unless it says no more than that of the head."""
    place = finding.location
    known_already = place is None or _is_header(finding) or (place.path, place.line) in _places(head)
    return (None, None) if known_already else (place, finding.source_line)


def _ranked(kept: Iterable[tuple[Suspect, Finding]]) -> tuple[Finding, ...]:
    """By severity, then by where on the way from data to result a cause acts, then by how sure it is."""

    def urgency(pair: tuple[Suspect, Finding]) -> tuple[object, ...]:
        head, finding = pair
        return (finding.severity.rank, head.stage, list(Confidence).index(finding.confidence), finding.order)

    ordered = sorted(kept, key=urgency)
    return tuple(replace(finding, rank=rank) for rank, (_, finding) in enumerate(ordered, start=1))


# ------------------------------------------------------------------------------------------------- what is dropped


def _refuted(head: Suspect, report: Report) -> str | None:
    """What was measured against a finding of the scan, in code that the check-up has run."""
    if not (head.is_scan and head.was_run):
        return None
    return refutation(head.finding.code, {result.code: result for result in report.probes})


def _was_run(finding: Finding, lines: Lines) -> bool:
    places = [place for place in (finding.location, *(step.location for step in finding.evidence)) if place]
    return any(
        place.line <= line <= (place.end_line or place.line) for place in places for line in lines.get(place.path, ())
    )


def _withdrawal(finding: Finding, against: str) -> str:
    place = finding.location
    where = f" at {place.path}:{place.line}" if place else ""
    return f"{finding.code} {finding.name}{where}, found by the scan, is withdrawn: {against}"


def _is_explained(failure: Failure, findings: Sequence[Finding]) -> bool:
    """Whether a probe failed on the very exception that a finding is about."""
    raised = [str(finding.measurements["raised"]) for finding in findings if "raised" in finding.measurements]
    return any(text and text in failure.message for text in raised)
