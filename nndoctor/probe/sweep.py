"""Sweeps the learning rate over several decades and reads from the loss which rates train."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch.optim import Optimizer

from nndoctor.probe.fitting import descend
from nndoctor.probe.optimizers import rate_setter
from nndoctor.probe.subject import Subject

LOWEST, HIGHEST = 1e-6, 10.0
# A sweep is short: with the argmin of the smoothed loss divided by ten, 13 of 57 suggestions lay more than ten times
# below the best rate of a training of 60 steps; divided by this, 2 of 70 (seven models, SGD and AdamW), none of them
# more than ten times from a rate as good. The steepest point, the valley and the slide did worse.
BELOW_ARGMIN = 2.2
# The band begins where this share of the whole fall is behind.
FALL_BEGINS = 0.1
# Smoothing over half a decade keeps the shape and takes most of the noise of the batches.
SMOOTHED_DECADES = 0.5
# A loss that rises by its own size, and this many times as far as it had fallen before, has diverged.
DIVERGED = 3.0
BOTTOMLESS = 10.0  # times its own start is more than a loss with a floor at zero can fall
# Where the loss stays low for decades (small nets with Adam), the first rate this near to the minimum counts as it.
NEAR_MINIMUM = 0.05


@dataclass(frozen=True, slots=True)
class Sweep:
    """The loss at each rate, ending where it diverged, and what is read from it."""

    rates: tuple[float, ...]
    smoothed: tuple[float, ...]
    steps: int

    @property
    def start(self) -> float:
        """The loss before any rate had an effect."""
        return self.smoothed[0]

    @property
    def fall(self) -> float:
        """How far the smoothed loss fell."""
        return self.start - min(self.smoothed)

    @property
    def highest(self) -> float:
        """The highest rate at which the loss still falls."""
        return min(zip(self.smoothed, self.rates, strict=True))[1]

    @property
    def lowest(self) -> float:
        """The lowest rate at which the loss visibly falls."""
        return self._first_below(FALL_BEGINS)

    @property
    def suggestion(self) -> float:
        """The rate to begin with."""
        return self._first_below(1 - NEAR_MINIMUM) / BELOW_ARGMIN

    @property
    def is_bottomless(self) -> bool:
        """Whether the loss fell far below zero, where the rate that falls furthest is not the best."""
        return self.fall > BOTTOMLESS * abs(self.start)

    def _first_below(self, share: float) -> float:
        """The first rate with that share of the whole fall behind it."""
        limit = self.start - share * self.fall
        return next(rate for rate, loss in zip(self.rates, self.smoothed, strict=True) if loss <= limit)


def sweep(subject: Subject, steps: int, deadline: float) -> Sweep:
    """One step a rate from the original weights, in train mode on the first batches; keep it in a sandbox."""
    subject.model.train()
    optimizer = user_optimizer(subject)
    set_rate = rate_setter(optimizer)
    ratio = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    rates = [LOWEST * ratio**step for step in range(steps)]
    upcoming = iter(rates)
    count = len(subject.batches)
    losses = descend(
        subject,
        subject.batches.cycle(steps),
        optimizer,
        until=lambda losses: has_diverged(without_batches(losses, count)),
        before_step=lambda: set_rate(next(upcoming)),
        deadline=deadline,
    )
    finite = without_batches([loss for loss in losses if math.isfinite(loss)], count)
    kept = _until_divergence(smooth(finite, max(round(SMOOTHED_DECADES / math.log10(ratio)), 1)))
    return Sweep(tuple(rates[: len(kept)]), tuple(kept), len(losses))


def without_batches(losses: Sequence[float], count: int) -> list[float]:
    """The losses without the differences between the `count` batches in turn, known from their first losses.

    At the first rates of the sweep the weights stand practically still.
    """
    first = losses[:count]
    mean = sum(first) / max(len(first), 1)
    return [loss - first[step % count] + mean for step, loss in enumerate(losses)]


@dataclass(frozen=True, slots=True)
class Trial:
    """A few steps at one rate: the losses, and how far the first step moved the weights."""

    losses: tuple[float, ...]
    first_update: float  # median over the matrices of the norm of the update by the norm of the weights

    @property
    def end(self) -> float:
        """The mean loss of the last third, infinite if training blew up."""
        last = self.losses[-max(len(self.losses) // 3, 1) :]
        return statistics.fmean(last) if all(map(math.isfinite, last)) else math.inf


def constant_rate(subject: Subject, rate: float, steps: int, deadline: float) -> Trial:
    """Some steps at one rate from the original weights; keep it in a sandbox."""
    subject.model.train()
    optimizer = user_optimizer(subject)
    rate_setter(optimizer)(rate)
    matrices = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.ndim > 1]
    before = [matrix.detach().clone() for matrix in matrices]
    batches = subject.batches.cycle(steps)
    losses = descend(subject, islice(batches, 1), optimizer)
    sizes = [float(old.norm()) for old in before]
    moves = [float((new.detach() - old).norm()) for new, old in zip(matrices, before, strict=True)]
    updates = [move / size for move, size in zip(moves, sizes, strict=True) if size]  # zeros may move as they like
    losses += descend(subject, batches, optimizer, deadline=deadline)
    return Trial(tuple(losses), statistics.median(updates) if updates else 0.0)


def user_optimizer(subject: Subject) -> Optimizer:
    """The user's optimizer, or Adam."""
    optimizer = subject.make_optimizer(subject.model)
    if optimizer is not None:
        return optimizer
    return torch.optim.Adam(parameter for parameter in subject.model.parameters() if parameter.requires_grad)


def smooth(losses: Sequence[float], window: int) -> list[float]:
    """Mean over `window` values on either side, so that the minimum stays where it is."""
    parts = [losses[max(0, step - window) : step + window + 1] for step in range(len(losses))]
    return [sum(part) / len(part) for part in parts]


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the loss rose far above its start."""
    start = losses[0]
    return losses[-1] > start + max(DIVERGED * (start - min(losses)), abs(start))


def _until_divergence(smoothed: list[float]) -> list[float]:
    ends = (step for step in range(1, len(smoothed) + 1) if has_diverged(smoothed[:step]))
    return smoothed[: next(ends, len(smoothed))]
