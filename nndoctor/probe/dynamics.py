"""What the predictions for a fixed batch do while the model trains: how many flip, whether all become one."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, clone
from nndoctor.probe.fitting import calm, descend
from nndoctor.probe.optimizers import learning_rate, rate_setter
from nndoctor.probe.references import CLASS_TASKS
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import user_optimizer

STEPS = 40  # running statistics of momentum 0.1 have then forgotten their first values by 98 %
LATE = 10  # steps at the end that are judged
WATCHING_STEPS = 4  # what the looks at the outputs cost in training steps
_KNOWN: list[tuple[Subject, Dynamics]] = []  # at most one: the training of the subject that was examined last


@dataclass(frozen=True, slots=True)
class Dynamics:
    """One short fit: the loss before each step, and the outputs for a fixed batch before the first and late ones."""

    rate: float
    losses: tuple[float, ...]
    seen: tuple[int, ...]  # the steps before which the outputs were looked at
    flips: tuple[float, ...]  # share of the predicted classes that a late step changed; empty without classes
    dominance: tuple[float, ...]  # share of the commonest predicted class at each look
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


def follow(
    subject: Subject, batches: Iterable[Batch], fixed: Batch, factor: float, deadline: float, steps: int = STEPS
) -> Dynamics:
    """Train on so many batches with `factor` times the user's rate and dropout off, from the original weights."""
    with subject.sandbox():
        return _train(subject, batches, fixed, factor, deadline, steps)


def train_as_is(subject: Subject, deadline: float) -> Dynamics:
    """Train on the first batches at the user's rate and leave it at that; keep it in a sandbox."""
    batches = subject.batches
    made = _train(subject, batches.cycle(STEPS), batches.first(1)[0], 1.0, deadline, STEPS)
    if len(made.losses) == STEPS or not math.isfinite(made.losses[-1]):  # time was not up
        _KNOWN[:] = [(subject, made)]
    return made


def known_training(subject: Subject) -> Dynamics | None:
    """What another probe has seen of the same training."""
    return next((made for of, made in _KNOWN if of is subject), None)


def _train(
    subject: Subject, batches: Iterable[Batch], fixed: Batch, factor: float, deadline: float, steps: int
) -> Dynamics:
    calm(subject.model)
    optimizer = user_optimizer(subject)
    rate = factor * learning_rate(optimizer)
    rate_setter(optimizer)(rate)
    watch = Watch(subject, fixed, late=steps - LATE - 1)
    losses = descend(subject, iter(batches), optimizer, before_step=watch.step, deadline=deadline)
    classes = _classes(subject, watch.outputs)
    return Dynamics(
        rate,
        tuple(losses),
        tuple(watch.seen),
        tuple(float((one != other).float().mean()) for one, other in itertools.pairwise(classes[1:])),
        tuple(float(each.bincount().max()) / each.numel() for each in classes),
        tuple(float((output - output.mean(0)).norm()) for output in watch.outputs),
    )


@dataclass(slots=True)
class Watch:
    """Looks at the outputs for the fixed batch before the first step and from a late one on."""

    subject: Subject
    fixed: Batch
    late: int
    steps: int = 0
    seen: list[int] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def step(self) -> None:
        """Another step begins."""
        if self.steps == 0 or self.steps >= self.late:
            self.seen.append(self.steps)
            self.outputs.append(self._look())
        self.steps += 1

    @torch.no_grad()
    def _look(self) -> Tensor:
        """The main output; running statistics stay those of the training."""
        buffers = list(self.subject.model.buffers())
        before, untouched = clone(buffers), [buffer._version for buffer in buffers]
        _, outputs = self.subject.compute_loss(self.subject.model, clone(self.fixed))
        for buffer, value, version in zip(buffers, before, untouched, strict=True):
            if buffer._version != version:
                buffer.copy_(value)
        return self.subject.output_tensor(outputs).float()


def _classes(subject: Subject, outputs: list[Tensor]) -> list[Tensor]:
    """The predicted classes at each step, flattened."""
    if subject.task.kind not in CLASS_TASKS:
        return []
    return [output.argmax(subject.task.class_dim).flatten() for output in outputs]
