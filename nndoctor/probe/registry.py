"""The probes by code, what a probe returns, and how one is run in its sandbox."""

from __future__ import annotations

import importlib
import pkgutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Confidence, Evidence, Figure, Finding, Location, ProbeResult, Series, Severity
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.subject import Subject


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe measured, always, and what it makes of it."""

    summary: str  # one line with the figure and what was expected of it
    findings: tuple[Finding, ...] = ()
    measurements: Mapping[str, Figure] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    steps: int = 0  # forward and backward passes
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds; the only figures that differ from run to run


Probe = Callable[[Subject, Effort], Outcome]
_PROBES: dict[str, Probe] = {}


def probe(code: str) -> Callable[[Probe], Probe]:
    """Register the function as the probe `code`; it may change the model, the sandbox undoes it."""

    def register(function: Probe) -> Probe:
        _PROBES[code] = function
        return function

    return register


def load_probes() -> dict[str, Probe]:
    """Every probe by code, in the order in which they run."""
    package = importlib.import_module("nndoctor.probe.probes")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_PROBES.items()))


def examine(code: str, subject: Subject, effort: Effort) -> tuple[ProbeResult, tuple[Finding, ...]]:
    """Run one probe in its sandbox; what the probe raises is raised here, after the subject is restored."""
    started = time.perf_counter()
    with subject.sandbox(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user's warnings are no business of the report
        try:
            outcome = load_probes()[code](subject, effort)
            status = "finding" if outcome.findings else "ok"
        except NotApplicableError as reason:
            outcome, status = Outcome(summary=str(reason)), "skipped"
    result = ProbeResult(
        code=code,
        name=rule_names().get(code, code.lower()),
        status=status,
        summary=outcome.summary,
        measurements=outcome.measurements,
        series=outcome.series,
        seconds=time.perf_counter() - started,
        steps=outcome.steps,
        timings=outcome.timings,
    )
    return result, outcome.findings


def finding(
    code: str,
    message: str,
    *,
    treatment: str | None = None,
    severity: Severity | None = None,
    confidence: Confidence = Confidence.LIKELY,
    location: Location | None = None,
    source_line: str | None = None,
    evidence: tuple[Evidence, ...] = (),
    measurements: Mapping[str, Figure] | None = None,
) -> Finding:
    """A finding of the rule `code`; severity and treatment are the catalogue's unless the probe knows better."""
    rule = load_rule(code)
    return Finding(
        code=code,
        name=rule.name,
        severity=severity or rule.severity,
        confidence=confidence,
        message=message,
        treatment=treatment or rule.treatment,
        location=location,
        source_line=source_line,
        evidence=evidence,
        measurements=measurements or {},
    )


def model_finding(
    code: str,
    subject: Subject,
    message: str,
    *,
    treatment: str | None = None,
    severity: Severity | None = None,
    confidence: Confidence = Confidence.LIKELY,
    measurements: Mapping[str, Figure] | None = None,
) -> Finding:
    """A finding about the subject as a whole: it points at the line where the model's class or factory begins."""
    return finding(
        code,
        message,
        treatment=treatment,
        severity=severity,
        confidence=confidence,
        location=subject.location,
        source_line=subject.source_line,
        measurements=measurements,
    )
