"""Learning-rate schedules: what was made, where it is stepped, and how far each step takes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nndoctor.scan.interpreter import kinds
from nndoctor.scan.numbers import Number, number
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.values import Const, Container, Lib, Term, Tuple, Value, leaves

DEFAULT_GAMMA = 0.1  # of StepLR and MultiStepLR
# The parameter that says after how many steps a schedule has run its course.
_HORIZONS = {
    "CosineAnnealingLR": "T_max",
    "PolynomialLR": "total_iters",
    "OneCycleLR": "total_steps",
    "get_linear_schedule_with_warmup": "num_training_steps",
    "get_cosine_schedule_with_warmup": "num_training_steps",
    "get_polynomial_decay_schedule_with_warmup": "num_training_steps",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A scheduler, its own steps, and those of its optimizer."""

    scheduler: Lib
    made: Event
    ticks: tuple[Event, ...]
    steps: tuple[Event, ...]

    @property
    def name(self) -> str:
        """The class or function that made it."""
        return self.scheduler.name

    @property
    def horizon(self) -> Value | None:
        """After how many of its steps it has run its course."""
        return self.scheduler.args.get(_HORIZONS.get(self.name, ""))


def schedules(program: Program) -> Iterator[Schedule]:
    """Every schedule whose optimizer is known."""
    ticks = list(program.of("scheduler step"))
    steps = list(program.of("step"))
    for made in program.of("scheduler"):
        scheduler = made.subject
        optimizers = {id(leaf) for leaf in leaves(scheduler.args.get("optimizer")) if leaf is not None}
        yield Schedule(
            scheduler,
            made,
            tuple(tick for tick in ticks if tick.subject is scheduler),
            tuple(step for step in steps if id(step.subject) in optimizers),
        )


def rounds(loop: Loop) -> tuple[Value, Number | None] | None:
    """How often a loop over a `range` runs: the value it is written with, and the number where known."""
    iterable = loop.iterable
    if type(iterable) is not Term or iterable.op != "range" or not iterable.inputs:
        return None
    stop = iterable.inputs[1] if len(iterable.inputs) > 1 else iterable.inputs[0]
    start = number(iterable.inputs[0]) if len(iterable.inputs) > 1 else None
    end = number(stop)
    first = start.value if start is not None else 0  # one that is unknown is where a run resumes
    if first == 1 and type(stop) is Term and stop.op == "+" and is_one(stop.inputs[1]):
        stop = stop.inputs[0]
    if end is None:
        return stop, None
    return stop, Number(end.value - first, end.is_default or (start is not None and start.is_default))


def is_one(value: Value) -> bool:
    """Whether a value is the constant 1."""
    return type(value) is Const and value.value == 1


def is_over_loader(iterable: Value) -> bool:
    """Whether a loop runs over a loader, or something called like one."""
    if type(iterable) is Term and iterable.op in ("enumerate", "zip", "iter"):
        return bool(iterable.inputs) and is_over_loader(iterable.inputs[0])
    return (type(iterable) is Lib and iterable.kind == "loader") or "load" in kinds.name_of(iterable).lower()


@dataclass(frozen=True, slots=True)
class Decay:
    """By which factor the rate is multiplied after how many steps of the scheduler."""

    gamma: float
    every: float  # infinite where `at` lists the steps
    at: tuple[float, ...]
    is_default: bool

    def factor(self, steps: float) -> float:
        """What is left of the rate after so many steps."""
        count = math.floor(steps / self.every) + sum(1 for step in self.at if step <= steps)
        return math.exp(max(count * math.log(self.gamma), -700)) if self.gamma > 0 else float(count == 0)


def decay(schedule: Schedule) -> Decay | None:
    """The decay of StepLR, MultiStepLR and ExponentialLR, where its numbers are known."""
    args = schedule.scheduler.args
    gamma = number(args["gamma"]) if "gamma" in args else Number(DEFAULT_GAMMA)
    if gamma is None or not 0 < gamma.value < 1:
        return None
    if schedule.name == "ExponentialLR" and "gamma" in args:
        return Decay(gamma.value, 1, (), gamma.is_default)
    if schedule.name == "StepLR" and (size := number(args.get("step_size"))) is not None and size.value > 0:
        return Decay(gamma.value, size.value, (), gamma.is_default or size.is_default)
    steps = _milestones(args.get("milestones")) if schedule.name == "MultiStepLR" else None
    if steps is None:
        return None
    return Decay(
        gamma.value, math.inf, tuple(s.value for s in steps), gamma.is_default or any(s.is_default for s in steps)
    )


def _milestones(value: Value) -> list[Number] | None:
    held = kinds.held(value) if type(value) in (Tuple, Container) else ()
    known = [found for item in held if (found := number(item)) is not None]
    return known if held and len(known) == len(held) else None
