"""Learns a few fixed examples by heart, at several rates if need be, and keeps what a diagnosis needs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from nndoctor.probe.batch import Batch, clone
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.fitting import Curve, adam, calm, descend, freeze_chance, repeated, small_batches
from nndoctor.probe.floors import Floors, are_repeated, find_floors, with_equal_inputs
from nndoctor.probe.ranges import OutputRange
from nndoctor.probe.references import Observed, References, measure_references, observe
from nndoctor.probe.subject import Split, Subject
from nndoctor.thresholds import Threshold

# Adam's usual rates; small nets want the high ones, deep ones the low. The second is only tried if the first fails.
RATES = (3e-3, 1e-2, 3e-4)
LEARNED = Threshold(
    "NDP03",
    "learned",
    0.1,
    "A model that learns by heart ends far below this share of what is known without the inputs.",
)
# Below this share of the initial loss, the best constant output leaves nothing to learn: all targets are the same.
ALREADY_ANSWERED = 1e-4
# A fit is continued while the last third of its steps takes this share of the way that is left.
FALLING = 0.1
ROUNDS = 4  # times the steps of one fit, for fits that still fall
# The search for the floor keeps ten copies of the outputs; those of a large vocabulary are not worth it.
LARGEST_OUTPUT = 1_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """The examples and the untrained model's answer to them."""

    batch: Batch
    examples: int
    seen: Observed
    references: References
    floors: Floors
    learnable: bool  # the loss has a graph and the model has trainable parameters

    @property
    def split(self) -> Split:
        """The examples as model and loss see them."""
        return self.seen.split

    @property
    def output(self) -> Tensor | None:
        """The main output, None where only the step knows what it is."""
        return self.seen.output

    @property
    def confined(self) -> OutputRange:
        """What the outputs are confined to."""
        return self.seen.confined

    @property
    def floor(self) -> float | None:
        """How low the loss can fall, None where that is not known."""
        return self.floors.lowest

    @property
    def reference(self) -> float:
        """The loss to get away from: the best constant's, or that of zero outputs where constants answer everything."""
        known = self.references
        candidates = [value for value in (known.prior, known.zero) if value is not None]
        worth = [value for value in candidates if abs(value) > ALREADY_ANSWERED * abs(known.initial)]
        return worth[0] if worth else known.initial

    def gap(self, loss: float) -> float:
        """The share of the way between floor and reference that is left at this loss."""
        bottom = self.floor if self.floor is not None and math.isfinite(self.floor) else 0.0
        way = self.reference - bottom
        return (loss - bottom) / way if way > 0 else math.inf

    @property
    def is_measurable(self) -> bool:
        """Whether it is known how low the loss can fall, so that staying above is a symptom."""
        return self.floor is not None and math.isfinite(self.floor)


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit from the original weights, and what it left."""

    curve: Curve
    output: Tensor | None  # the main output after the last step
    idle: tuple[str, ...]  # trainable parameters whose last gradient was None or zero
    cut: bool  # no parameter had a gradient, not even zero
    trainable: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of learning a few examples by heart."""

    start: Start
    fits: tuple[Fit, ...]  # one a rate, in the order of trial
    in_time: bool

    @property
    def best(self) -> Fit:
        """The fit that came furthest."""
        return min(self.fits, key=lambda fit: fit.curve.best if math.isfinite(fit.curve.best) else math.inf)

    @property
    def learned(self) -> bool:
        """Whether the best fit came close to the floor."""
        return self.start.gap(self.best.curve.best) <= LEARNED.value

    @property
    def unfinished(self) -> bool:
        """Whether the best fit was still falling when its steps or the time were spent."""
        return not self.in_time or is_falling(self.start, self.best.curve)


def memorise(subject: Subject, start: Start, steps: int, deadline: float, rates: Sequence[float] = RATES) -> Attempt:
    """Fit the examples from the original weights at one rate after the other, until one fit succeeds or time is up."""
    fits: list[Fit] = []
    with subject.sandbox() as rewind:
        for rate in rates:
            rewind()
            fits.append(fit(subject, start, rate, steps, deadline))
            sound = not start.is_measurable and fits[-1].curve.broken_at is None  # nothing more to be learned from it
            if sound or start.gap(fits[-1].curve.best) <= LEARNED.value or time.monotonic() > deadline:
                break
    return Attempt(start, tuple(fits), in_time=time.monotonic() <= deadline)


def starting_point(subject: Subject, count: int) -> Start:
    """Measure the untrained model on that many examples, and how low their loss can fall."""
    batch, examples, seen = _first_that_runs(subject, count)
    floors = Floors(None)
    if subject.criterion is not None and seen.output is not None and seen.output.numel() <= LARGEST_OUTPUT:
        floors = find_floors(subject.criterion, seen.output, seen.split, seen.confined)
        if seen.output.shape[0] == examples:
            suspicious = partial(_repeats_inputs, subject)
            floors = with_equal_inputs(floors, subject.criterion, seen.output, seen.split, suspicious)
    trainable = any(parameter.requires_grad for parameter in subject.model.parameters())
    references = measure_references(subject, [seen])
    return Start(batch, examples, seen, references, floors, learnable=seen.has_graph and trainable)


def _repeats_inputs(subject: Subject) -> bool:
    """Whether the whole first batch, not only the few examples, holds the same inputs again and again."""
    batch = subject.batches.kept[0]
    sizes = likely_sizes(batch, subject.batches.size)
    return bool(sizes) and are_repeated(subject.split(batch), sizes[0])


def _first_that_runs(subject: Subject, count: int) -> tuple[Batch, int, Observed]:
    """The few examples, or the whole batch for a model that takes no other."""
    readings = list(small_batches(subject, count))
    with subject.sandbox() as rewind:
        for batch, examples in readings[:-1]:
            calm(subject.model)
            try:
                return batch, examples, observe(subject, clone(batch))
            except Exception:  # a model made for one batch size may raise anything
                rewind()
        batch, examples = readings[-1]
        calm(subject.model)
        return batch, examples, observe(subject, clone(batch))


def fit(subject: Subject, start: Start, rate: float, steps: int, deadline: float) -> Fit:
    """Rounds of steps at one rate, for as long as the loss falls."""
    calm(subject.model)
    optimizer = adam(subject.model, rate)
    again = freeze_chance(subject.device)
    curve = Curve((), rate)
    for _ in range(ROUNDS):
        losses = descend(
            subject,
            repeated(start.batch, steps),
            optimizer,
            until=lambda losses: start.gap(losses[-1]) <= LEARNED.value,
            before_step=again,
            deadline=deadline,
        )
        curve = Curve((*curve.losses, *losses), rate)
        if time.monotonic() > deadline or start.gap(curve.best) <= LEARNED.value or not is_falling(start, curve):
            break
    again()
    idle = tuple(name for name, parameter in _trainable(subject) if _is_idle(parameter))
    output = observe(subject, clone(start.batch)).output
    cut = all(parameter.grad is None for _, parameter in _trainable(subject))
    return Fit(curve, output, idle, cut, len(_trainable(subject)))


def is_falling(start: Start, curve: Curve) -> bool:
    """Whether the last third of the steps took a good part of the way that was left."""
    third = max(len(curve.losses) // 3, 1)
    if curve.broken_at is not None or len(curve.losses) < 2:
        return False
    before, after = min(curve.losses[:-third]), min(curve.losses[-third:])
    return start.gap(before) - start.gap(after) > FALLING * start.gap(before)


def _trainable(subject: Subject) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in subject.model.named_parameters() if parameter.requires_grad]


def _is_idle(parameter: nn.Parameter) -> bool:
    return parameter.grad is None or not bool(parameter.grad.any())
