"""The dynamic pass as the command line calls it: watches over child processes and gathers what they report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nndoctor.catalog import rule_names
from nndoctor.errors import UserError
from nndoctor.exhibits import Exhibit
from nndoctor.findings import Failure, Finding, Location, ProbeResult, Report
from nndoctor.probe.child import Child, DiedError, OverdueError
from nndoctor.probe.differential import diagnose
from nndoctor.probe.effort import EFFORTS, Effort
from nndoctor.probe.messages import Done, Failed, Measured, Order, Ready, Refused, Stage, Started
from nndoctor.probe.scanned import scanned
from nndoctor.requests import ProbeRequest, ScanRequest

Progress = Callable[[str], None]


@dataclass(slots=True)
class Gathered:
    """What has been reported so far; `codes` is None until a child has built the subject."""

    codes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    batch: tuple[Exhibit, ...] = ()
    filters: tuple[Exhibit, ...] = ()
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # of the user's files, that were run
    results: list[ProbeResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    doing: str = "starting"  # the stage of the set-up
    running: str | None = None  # the probe

    @property
    def remaining(self) -> tuple[str, ...] | None:
        """The probes that have no result yet."""
        known = {result.code for result in self.results}
        return None if self.codes is None else tuple(code for code in self.codes if code not in known)

    def fail(self, failure: Failure) -> None:
        """Note a probe that gave no measurement."""
        code = failure.code or ""
        self.failures.append(failure)
        self.results.append(ProbeResult(code, rule_names().get(code, code.lower()), "failed", failure.message))
        self.running = None


def checkup(request: ProbeRequest, progress: Progress, scan: ScanRequest | None = None) -> Report:
    """Run the probes of the request; raises UserError if the subject cannot be built.

    A probe that kills or blocks its process costs its own result: a new child goes on with the next. `scan` says how
    the static pass shall read the files that were run; none: with every rule that the request does not ignore.
    """
    started = time.monotonic()
    effort = EFFORTS[request.effort]
    gathered = Gathered()
    while gathered.remaining is None or gathered.remaining:
        with Child(Order(request, gathered.remaining)) as child:
            _listen(child, gathered, effort, progress)
    report = Report(
        command="probe",
        target=request.model,
        findings=tuple(gathered.findings),
        probes=tuple(sorted(gathered.results, key=lambda result: result.code)),
        failures=tuple(gathered.failures),
        notes=gathered.notes,
        batch=gathered.batch,
        filters=gathered.filters,
    )
    diagnosed = diagnose(report, _scanned(request, scan, gathered, progress), gathered.lines)
    return replace(diagnosed, seconds=time.monotonic() - started)


def _scanned(
    request: ProbeRequest, scan: ScanRequest | None, gathered: Gathered, progress: Progress
) -> tuple[Finding, ...]:
    """What the static pass says of the files that were run; nothing where the user asked for certain probes."""
    if request.select is not None:
        return ()
    progress("reading the script")
    return scanned(gathered.lines, scan or ScanRequest((), request.root, ignore=request.ignore))


def _listen(child: Child, gathered: Gathered, effort: Effort, progress: Progress) -> None:
    """Take the child's messages until it is done, dead or overdue."""
    gathered.running, gathered.doing, before = None, "starting", len(gathered.results)
    while True:
        try:
            message = child.receive(effort.seconds if gathered.running else effort.setup_seconds)
        except OverdueError:
            return _overdue(gathered, effort)
        except DiedError as death:
            if gathered.running is None and len(gathered.results) > before:
                return None  # between two probes: the next child goes on
            return _died(gathered, str(death), death.location)
        match message:
            case Stage(text):
                gathered.doing = text
                progress(text)
            case Refused(text):
                return _cannot_go_on(gathered, text)
            case Ready() if gathered.codes is None:
                gathered.codes, gathered.notes = message.codes, message.notes
                gathered.batch, gathered.filters = message.batch, message.filters
                gathered.lines = message.lines
            case Started(code):
                gathered.running = code
                progress(_progress(gathered, code))
            case Measured(result, findings):
                gathered.results.append(result)
                gathered.findings.extend(findings)
                gathered.running = None
            case Failed(failure):
                gathered.fail(failure)
            case Done():
                return None


def _progress(gathered: Gathered, code: str) -> str:
    number, count = len(gathered.results) + 1, len(gathered.codes or ())
    return f"{code} {rule_names().get(code, '')} ({number} of {count})"


def _overdue(gathered: Gathered, effort: Effort) -> None:
    if gathered.running:
        text = f"took longer than {effort.seconds:.0f} s and was ended; --effort full waits longer"
        return gathered.fail(Failure(text, gathered.running))
    text = f"{gathered.doing} took longer than {effort.setup_seconds:.0f} s"
    advice = "; try num_workers=0 or a smaller part of the data" if "batch" in gathered.doing else ""
    return _cannot_go_on(gathered, f"{text}{advice}; --effort full waits {EFFORTS['full'].setup_seconds:.0f} s")


def _died(gathered: Gathered, text: str, location: Location | None) -> None:
    if gathered.running:
        return gathered.fail(Failure(text, gathered.running, location))
    return _cannot_go_on(gathered, f"{text}, while {gathered.doing}")


def _cannot_go_on(gathered: Gathered, text: str) -> None:
    """The set-up failed: the user's mistake the first time; in a later child, the rest of the probes are lost."""
    if gathered.codes is None:
        raise UserError(text)
    for code in gathered.remaining or ():
        gathered.fail(Failure(text, code))
