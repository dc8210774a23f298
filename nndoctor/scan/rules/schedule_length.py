"""Whether a learning-rate schedule fits the run: its length beside the number of times it is stepped."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.numbers import Number, number
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.accumulation import guards_beyond
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.schedules import Decay, Schedule, decay, rounds, schedules
from nndoctor.scan.values import Term, Value
from nndoctor.thresholds import Threshold

HALF = 0.5
WORN_OUT = Threshold(
    "ND211",
    "worn-out",
    0.01,
    "Half of a run with less than a hundredth of the rate teaches nothing that the other half did not.",
)
SHORTEST_RUN = Threshold("ND211", "shortest-run", 5, "Fewer rounds are there to try a script out.")
CLIMBED_BACK = Threshold(
    "ND211", "climbed-back", 0.1, "A cosine that ends its run above a tenth of the rate has climbed back."
)
HARDLY_BEGUN = Threshold(
    "ND211", "hardly-begun", 0.5, "A cosine that ends its run above half of the rate has hardly begun."
)
_REACH_ZERO = frozenset(
    {"PolynomialLR", "get_linear_schedule_with_warmup", "get_polynomial_decay_schedule_with_warmup"}
)

Verdict = tuple[str, bool]  # what is wrong, and whether it rests on a default that may be replaced


@rule("ND211")
def schedule_does_not_fit(program: Program) -> Iterator[Draft]:
    for schedule in schedules(program):
        tick = _only_tick(schedule)
        found = rounds(tick.loops[-1]) if tick is not None else None
        if tick is None or found is None:
            continue
        count = found[1]
        verdict = _in_batches(schedule, tick)
        if verdict is None and count is not None and count.value >= SHORTEST_RUN.value:
            verdict = _verdict(schedule, count, tick.loops[-1].ends_early)
        if verdict is not None:
            reason, is_default = verdict
            sure = Confidence.LIKELY if is_default else Confidence.CERTAIN
            yield Draft("ND211", schedule.made.site, reason, ((tick.site, "stepped here"),), sure)


def _only_tick(schedule: Schedule) -> Event | None:
    """The step of a scheduler that is reached once in each round of a loop around a training step, and nowhere else."""
    if len({id(tick.site.node) for tick in schedule.ticks}) != 1:
        return None
    tick = schedule.ticks[0]
    if not tick.loops or tick.loops[:-1] != schedule.made.loops or tick.details["args"].all:
        return None
    inside = (step for step in schedule.steps if step.loops[: len(tick.loops)] == tick.loops)
    step = next(inside, None)
    return tick if step is not None and not guards_beyond(tick, step) else None


def _in_batches(schedule: Schedule, tick: Event) -> Verdict | None:
    """A length in batches for a scheduler that is stepped once an epoch."""
    lengths = [schedule.horizon, schedule.scheduler.args.get("steps_per_epoch")]
    counted = [
        term.inputs[0]
        for length in lengths
        for term in graph.ancestors(length, through_cuts=True)
        if term.op == "len" and term.inputs
    ]
    for step in schedule.steps:
        inner = step.loops[len(tick.loops) :] if step.loops[: len(tick.loops)] == tick.loops else ()
        for loop in inner:
            if any(_source(loop.iterable) is loader for loader in counted):
                return f"{schedule.name} is as long as all batches of the run, but it is stepped once an epoch", False
    return None


def _source(iterable: Value) -> Value:
    """What a loop over `enumerate(x)` takes its items from."""
    while type(iterable) is Term and iterable.op in ("enumerate", "iter") and iterable.inputs:
        iterable = iterable.inputs[0]
    return iterable


def _verdict(schedule: Schedule, count: Number, ends_early: bool) -> Verdict | None:
    """What is wrong with a schedule that is stepped so often, or at most so often if the run may end early."""
    wear = decay(schedule)
    if wear is not None:
        reason = _never_reached(wear, count.value) or (None if ends_early else _worn_out(wear, count.value))
        return (f"{schedule.name} {reason}", count.is_default or wear.is_default) if reason is not None else None
    length = number(schedule.horizon)
    if length is None or length.value < 1 or ends_early:
        return None
    reason = _of_length(schedule.name, length.value, count.value)
    return (f"{schedule.name} {reason}", count.is_default or length.is_default) if reason is not None else None


def _never_reached(wear: Decay, count: float) -> str | None:
    late = [step for step in wear.at if step > count]
    if late:
        return f"has a milestone at {late[0]:g}, but is stepped only {count:g} times"
    if wear.every > count and not wear.at:
        return f"decays every {wear.every:g} steps, but is stepped only {count:g} times: the rate never changes"
    return None


def _worn_out(wear: Decay, count: float) -> str | None:
    left = wear.factor(count * HALF)
    if left < WORN_OUT.value * (1 - 1e-9):
        return f"leaves {left:.1g} of the rate after half of the {count:g} steps of this run"
    return None


def _of_length(name: str, length: float, count: float) -> str | None:
    if name in _REACH_ZERO:
        ended = f"reaches zero after {length:g} of the {count:g} steps of this run"
        return ended if count > length + 1 else None
    if name == "CosineAnnealingLR":
        left = (1 + math.cos(math.pi * count / length)) / 2
        if count > length and left > CLIMBED_BACK.value:
            return (
                f"climbs back after {length:g} steps: this run ends, after {count:g}, at {left:.0%} of the first rate"
            )
        if count < length and left >= HARDLY_BEGUN.value:
            return (
                f"needs {length:g} steps and is stepped {count:g} times: this run ends at {left:.0%} of the first rate"
            )
    if name == "OneCycleLR" and count != length:
        fate = "raises an error" if count > length else "never comes down"
        return f"has {length:g} steps and is stepped {count:g} times: it {fate}"
    return None
