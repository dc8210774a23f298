"""When schedulers are stepped: before the optimizer, per batch, without their metric, or never."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.numbers import number
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.accumulation import guards_beyond
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.schedules import Schedule, decay, is_over_loader, rounds, schedules
from nndoctor.scan.values import Term
from nndoctor.thresholds import Threshold

_PLATEAU = "ReduceLROnPlateau"
LEAST_BATCHES = Threshold("ND210", "batches-an-epoch", 50, "An epoch over a loader is taken to have at least so many.")
WORN_OUT = Threshold("ND210", "worn-out", 1e-4, "With so little left of a rate nothing is learned any more.")


@rule("ND210")
def scheduler_before_optimizer(program: Program) -> Iterator[Draft]:
    for schedule in schedules(program):
        first = next(iter(schedule.ticks), None)
        if first is None or not first.loops or schedule.name == _PLATEAU or first.details["args"].all:
            continue
        if id(schedule.scheduler.args.get("optimizer")) in program.handed:
            continue
        step = next((s for s in schedule.steps if s.frames[0] is first.frames[0]), None)
        inside = step is not None and step.loops[: len(first.loops)] == first.loops
        if step is not None and inside and step.order > first.order and not guards_beyond(first, step):
            message = "the scheduler steps before the optimizer does: the first value of the schedule is skipped"
            treatment = "Call `scheduler.step()` after `optimizer.step()`, at the end of the epoch or batch."
            yield Draft("ND210", first.site, message, ((step.site, "the optimizer's first step"),), treatment=treatment)


@rule("ND210")
def plateau_without_metric(program: Program) -> Iterator[Draft]:
    for schedule in schedules(program):
        for event in schedule.ticks if schedule.name == _PLATEAU else ():
            args = event.details["args"]
            if args.all or args.open or _depends(event, schedule):
                continue
            message = f"{_PLATEAU} is stepped without the metric that it watches"
            treatment = "Pass the validation loss."
            yield Draft("ND210", event.site, message, severity=Severity.ERROR, treatment=treatment)


def _depends(tick: Event, schedule: Schedule) -> bool:
    """Whether the scheduler is stepped under a condition, which may say of what kind it is."""
    step = next((s for s in schedule.steps if s.loops[: len(tick.loops)] == tick.loops), None)
    return step is None or bool(guards_beyond(tick, step))


@rule("ND210")
def epochs_counted_in_batches(program: Program) -> Iterator[Draft]:
    """A schedule that is written in epochs is stepped for each batch."""
    for schedule in schedules(program):
        tick = next((t for t in schedule.ticks if len(t.loops) > 1 and not t.details["args"].all), None)
        step = next((s for s in schedule.steps if tick is not None and s.loops == tick.loops), None)
        if tick is None or step is None or tick.loops[-1].unrolled or guards_beyond(tick, step):
            continue
        found = _counted_in_epochs(schedule, tick)
        if found is not None:
            reason, confidence = found
            message = f"the scheduler steps for each batch, but {reason}"
            treatment = "Call `scheduler.step()` once an epoch, or give the schedule in batches."
            evidence = ((schedule.made.site, "the schedule"),)
            yield Draft("ND210", tick.site, message, evidence, confidence, Severity.ERROR, treatment)


def _counted_in_epochs(schedule: Schedule, tick: Event) -> tuple[str, Confidence] | None:
    epochs = rounds(tick.loops[-2])
    if epochs is None:
        return None
    written, count = epochs
    horizon = schedule.horizon
    length = number(horizon)
    if horizon is not None and horizon is written:
        return f"{schedule.name} is told the number of epochs", Confidence.CERTAIN
    if length is not None and count is not None and length.value <= count.value:
        sure = Confidence.LIKELY if length.is_default or count.is_default else Confidence.CERTAIN
        return f"{schedule.name} ends after {length.value:g} steps, in {count.value:g} epochs", sure
    wear = decay(schedule)
    if wear is None or not is_over_loader(tick.loops[-1].iterable):
        return None
    if wear.at:
        early = count is not None and max(wear.at) <= count.value
        return (f"the last milestone is {max(wear.at):g}", Confidence.LIKELY) if early else None
    left = wear.factor((count.value if count is not None else 1) * LEAST_BATCHES.value)
    if left >= WORN_OUT.value:
        return None
    every = "at each step" if wear.every == 1 else f"every {wear.every:g} steps"
    return f"{schedule.name} multiplies the rate by {wear.gamma:g} {every}", Confidence.LIKELY


@rule("ND210")
def scheduler_never_stepped(program: Program) -> Iterator[Draft]:
    unknown = (event.subject for event in program.methods("step") if type(event.subject) is Term)
    if program.engines or not all(map(kinds.is_optimizer, unknown)):
        return  # what is stepped there may be a scheduler
    places: dict[int, set[int]] = {}
    for tick in program.of("scheduler step"):
        places.setdefault(id(tick.site.node), set()).add(id(tick.subject))
    if any(len(subjects) > 1 for subjects in places.values()):
        return  # one call steps several: perhaps all that are in a list
    for schedule in schedules(program):
        if schedule.ticks or id(schedule.scheduler) in program.handed:
            continue
        step = next((s for s in schedule.steps if s.loops and s.order > schedule.made.order), None)
        if step is not None and step.frames[0] is schedule.made.frames[0]:
            message = f"this {schedule.name} is never stepped: the learning rate stays as it is"
            treatment = "Call its `step()` after the optimizer's, once an epoch or batch as the schedule is written."
            evidence = ((step.site, "the optimizer steps here"),)
            yield Draft("ND210", schedule.made.site, message, evidence, Confidence.LIKELY, treatment=treatment)
