"""NDP14: the learning rate over the planned run, with the scheduler stepped and nothing trained."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch.optim.lr_scheduler import ReduceLROnPlateau

from nndoctor.findings import Confidence, Finding, Series, Severity
from nndoctor.probe.blame import source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.planning import SchedulePlan
from nndoctor.probe.rates import Fault, find_fault, foresee
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.schedules import EVERY_BATCH, EVERY_EPOCH, Scheduled
from nndoctor.probe.subject import Subject

TIME_SHARE = 0.25  # of the probe's seconds; a step of a scheduler takes 10 microseconds
# How far beyond the run to look for what a schedule that is too long would do.
BEYOND, FARTHEST = 50, 20_000
DRAWN = 400  # points of the curve
UNITS = {EVERY_BATCH: "batches", EVERY_EPOCH: "epochs"}
PHRASES = {EVERY_BATCH: "for each batch", EVERY_EPOCH: "once an epoch"}
LENGTHS = "T_max, total_steps, num_training_steps, step_size or milestones"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the scheduler is stepped in the run, and what is wrong with its course at that pace."""

    interval: str
    steps: int
    fault: Fault | None

    def tell(self) -> str:
        """What is wrong."""
        assert self.fault is not None, "it is only asked where something is"
        return self.fault.message.format(unit=UNITS[self.interval])


@probe("NDP14")
def schedule(subject: Subject, effort: Effort) -> Outcome:
    """Step the scheduler through the run and beyond, and judge its course at the pace at which it is stepped."""
    plan = subject.schedule
    scheduled = plan.recipe(subject.model) if plan else None
    if plan is None or scheduled is None:
        raise NotApplicableError("no scheduler: name one with --scheduler, or return it beside the optimizer")
    lengths = _lengths(plan, scheduled)
    longest = max(lengths.values())
    steps = max(2 * longest, min(BEYOND * longest, FARTHEST))
    course = foresee(scheduled, steps, time.monotonic() + TIME_SHARE * effort.seconds)
    name, epochs = type(scheduled.scheduler).__name__, min(lengths.values())
    paces = {
        interval: Pace(interval, count, find_fault(course, count, name, epochs)) for interval, count in lengths.items()
    }
    known = scheduled.interval or plan.interval
    fitting = next((pace for pace in paces.values() if pace.fault is None), None)
    pace = (paces.get(known) if known else fitting) or paces[EVERY_EPOCH]
    if len(course.rates) < pace.steps and course.error is None:
        raise NotApplicableError(f"no time to step {name} {pace.steps} times; --effort full waits longer")
    rates = course.rates[: pace.steps]
    judged = pace.fault is not None and (known is not None or EVERY_BATCH in lengths)
    found = (_finding(subject, scheduled, pace, fitting, is_known=known is not None),) if judged else ()
    return Outcome(
        summary=f"{name} stepped {PHRASES[pace.interval]}: the rate begins at {rates[0]:.2g}, is {max(rates):.2g} at "
        f"most and {rates[-1]:.2g} at the end of {pace.steps} {UNITS[pace.interval]}",
        findings=found,
        measurements={
            "scheduler": name,
            "interval": pace.interval,
            "steps": pace.steps,
            "rate at the start": rates[0],
            "highest rate": max(rates),
            "rate at the end": rates[-1],
        },
        series={"learning rate": _series(rates, pace)},
    )


def _lengths(plan: SchedulePlan, scheduled: Scheduled) -> dict[str, int]:
    """How often the scheduler would be stepped in the run, by interval."""
    if isinstance(scheduled.scheduler, ReduceLROnPlateau):
        raise NotApplicableError("ReduceLROnPlateau follows a metric that only training gives")
    if plan.epochs is None:
        raise NotApplicableError("how long the run is to be is not known: give --epochs")
    lengths = {EVERY_EPOCH: max(plan.epochs // scheduled.frequency, 1)}
    if plan.steps_per_epoch is not None:
        lengths[EVERY_BATCH] = max(plan.epochs * plan.steps_per_epoch // scheduled.frequency, 1)
    elif EVERY_BATCH in (scheduled.interval, plan.interval):
        raise NotApplicableError("how many batches an epoch has is not known: give --steps-per-epoch")
    return lengths


def _finding(subject: Subject, scheduled: Scheduled, pace: Pace, fitting: Pace | None, *, is_known: bool) -> Finding:
    fault = pace.fault
    assert fault is not None, "there is one to tell of"
    place = scheduled.location
    stepped = (
        f"stepped {PHRASES[pace.interval]}, " if is_known else "at either pace the schedule does not fit the run: "
    )
    return finding(
        "NDP14",
        stepped + pace.tell(),
        treatment=_treatment(pace, fitting),
        severity=Severity.ERROR if fault.cause == "stops" and is_known else None,
        confidence=Confidence.CERTAIN if is_known else Confidence.LIKELY,
        location=place or subject.location,
        source_line=source_line(place.path, place.line) if place else subject.source_line,
        measurements={
            "cause": "wrong pace" if fitting else fault.cause,
            "steps": pace.steps,
            "steps that the schedule is written for": fault.needs,
        },
    )


def _treatment(pace: Pace, fitting: Pace | None) -> str:
    if fitting is not None:
        return (
            f"Step the scheduler {PHRASES[fitting.interval]}: {fitting.steps} times in this run. Or write its length "
            f"({LENGTHS}) in {UNITS[pace.interval]}: {pace.steps}."
        )
    return f"Give the schedule ({LENGTHS}) the length of this run: {pace.steps} steps."


def _series(rates: tuple[float, ...], pace: Pace) -> Series:
    every = -(-len(rates) // DRAWN)
    return Series(
        rates[::every],
        "learning rate over the planned run",
        x=tuple(float(step) for step in range(0, len(rates), every)),
        x_label="epoch" if pace.interval == EVERY_EPOCH else "batch",
        y_label="learning rate",
    )
