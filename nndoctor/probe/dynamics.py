"""What the predictions for a fixed batch do while the model trains: how many flip, whether all become one."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, clone
from nndoctor.probe.fitting import calm, descend
from nndoctor.probe.optimizers import learning_rate, rate_setter
from nndoctor.probe.references import CLASS_TASKS
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import user_optimizer

LATE = 10  # steps at the end that are judged


@dataclass(frozen=True, slots=True)
class Dynamics:
    """One short fit: before each step the loss, and what the outputs for the fixed batch were."""

    rate: float
    losses: tuple[float, ...]
    flips: tuple[float, ...]  # share of the predicted classes that changed since the step before; empty without classes
    dominance: tuple[float, ...]  # share of the commonest predicted class
    spread: tuple[float, ...]  # how far the outputs of the examples lie apart: the norm of their deviations

    @property
    def end(self) -> float:
        """The mean of the last losses, infinite if training blew up."""
        last = torch.tensor(self.losses[-LATE:])
        return float(last.mean()) if bool(last.isfinite().all()) else float("inf")

    @property
    def late_flips(self) -> float:
        """Mean share of predictions that change in a late step."""
        return statistics.fmean(self.flips[-LATE:]) if self.flips else 0.0

    @property
    def late_dominance(self) -> float:
        """The least share that the commonest class had in a late step."""
        return min(self.dominance[-LATE:], default=0.0)

    @property
    def kept_spread(self) -> float:
        """The spread at the end by the one at the start."""
        return self.spread[-1] / self.spread[0] if self.spread[0] else 1.0


def follow(subject: Subject, batches: Iterable[Batch], fixed: Batch, factor: float, deadline: float) -> Dynamics:
    """Train on the batches with `factor` times the user's rate and dropout off, from the original weights."""
    outputs: list[Tensor] = []

    def look() -> None:
        with torch.no_grad():
            _, returned = subject.compute_loss(subject.model, clone(fixed))
        outputs.append(subject.output_tensor(returned).float())

    with subject.sandbox():
        calm(subject.model)
        optimizer = user_optimizer(subject)
        rate = factor * learning_rate(optimizer)
        rate_setter(optimizer)(rate)
        losses = descend(subject, iter(batches), optimizer, before_step=look, deadline=deadline)
    classes = _classes(subject, outputs)
    return Dynamics(
        rate,
        tuple(losses),
        tuple(float((one != other).float().mean()) for one, other in itertools.pairwise(classes)),
        tuple(float(each.bincount().max()) / each.numel() for each in classes),
        tuple(float((output - output.mean(0)).norm()) for output in outputs),
    )


def _classes(subject: Subject, outputs: list[Tensor]) -> list[Tensor]:
    """The predicted classes at each step, flattened."""
    if subject.task.kind not in CLASS_TASKS:
        return []
    return [output.argmax(subject.task.class_dim).flatten() for output in outputs]
