"""What pulls the weights towards zero: penalties among the terms of the loss, and the optimizer's weight decay."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nndoctor.probe.fitting import calm
from nndoctor.probe.subject import Subject
from nndoctor.probe.terms import Breakdown, break_down

# Fast, so that few steps come near to where data and penalty balance, which hardly depends on the rate.
TRIAL_RATE = 1e-2
# Norms of weights that a penalty pulls along themselves agree in direction up to rounding.
PARALLEL = 0.999


@dataclass(frozen=True, slots=True)
class Decay:
    """The weight decay of an optimizer; decoupled is AdamW's, which shrinks the weights beside the gradient step."""

    name: str  # the class of the optimizer
    strengths: dict[int, float]  # by the identity of the parameter, zeros left out
    is_decoupled: bool

    @property
    def strongest(self) -> float:
        """The largest of the groups."""
        return max(self.strengths.values(), default=0.0)

    def of(self, parameter: nn.Parameter) -> float:
        """The weight decay of this parameter."""
        return self.strengths.get(id(parameter), 0.0)


def decay_of(optimizer: Optimizer | None) -> Decay:
    """What the optimizer decays; optimizers from elsewhere are taken to be decoupled, as most are."""
    if optimizer is None:
        return Decay("none", {}, False)
    strengths = {
        id(parameter): float(group["weight_decay"])
        for group in optimizer.param_groups
        if group.get("weight_decay")
        for parameter in group["params"]
    }
    kind = type(optimizer)
    stated = any(group.get("decoupled_weight_decay") for group in optimizer.param_groups)
    foreign = not kind.__module__.startswith("torch.optim")
    return Decay(kind.__name__, strengths, stated or foreign or issubclass(kind, torch.optim.AdamW))


@dataclass(frozen=True, slots=True)
class Pull:
    """Norms over the matrices: of the gradient of the data, of the penalties, and of what the decay adds to them."""

    data: float
    penalty: float
    decay: float

    @property
    def penalty_ratio(self) -> float:
        """How many times as hard as the data the penalties pull."""
        return self.penalty / self.data if self.data else 0.0

    @property
    def decay_ratio(self) -> float:
        """The same of the weight decay."""
        return self.decay / self.data if self.data else 0.0


def measure_pull(parts: Breakdown, matrices: Sequence[nn.Parameter], decay: Decay) -> Pull:
    """At the weights as they are; a step of a decoupled optimizer is about one rate an element, whatever the loss."""
    data = norm(parts.gradients(parts.data, matrices))
    penalty = norm(parts.gradients(parts.penalties, matrices)) if parts.penalties else 0.0
    shrink = norm([decay.of(matrix) * matrix.detach() for matrix in matrices])
    if decay.is_decoupled and data:
        shrink *= data / math.sqrt(sum(matrix.numel() for matrix in matrices))
    return Pull(data, penalty, shrink)


def norm(gradients: Sequence[Tensor]) -> float:
    """The norm of all of them as one vector."""
    return math.sqrt(sum(float(gradient.detach().float().square().sum()) for gradient in gradients))


def shrunk_by_loss(parts: Breakdown, matrices: Sequence[nn.Parameter]) -> dict[int, float]:
    """The weight decay that penalties amount to, by the identity of the matrices that they pull along themselves."""
    found = {}
    for matrix, gradient in zip(matrices, parts.gradients(parts.penalties, matrices), strict=True):
        size, pull = float(matrix.detach().norm()), float(gradient.norm())
        if size and pull and float((matrix.detach() * gradient).sum()) > PARALLEL * size * pull:
            found[id(matrix)] = pull / size
    return found


@dataclass(frozen=True, slots=True)
class Trial:
    """The loss of the data alone, before and after a few steps."""

    start: float
    end: float

    @property
    def fall(self) -> float:
        """How far it came down; what blew up came down by nothing."""
        return self.start - self.end if math.isfinite(self.end) else 0.0


def try_training(
    subject: Subject, decay: Decay, steps: int, deadline: float, *, penalties: bool, decays: bool
) -> Trial:
    """Train with or without the penalties and the decay, with dropout off and otherwise alike."""
    with subject.sandbox():
        calm(subject.model)
        optimizer = _trial_optimizer(subject.model, decay if decays else decay_of(None))
        losses = []
        for batch in subject.batches.cycle(steps):
            parts = break_down(subject, batch)
            losses.append(parts.data_value)
            optimizer.zero_grad()
            parts.backward(parts.terms if penalties else parts.data)
            optimizer.step()
            if time.monotonic() > deadline:
                break
    last = losses[-max(len(losses) // 4, 1) :]
    first = losses[: max(min(len(losses) // 4, len(subject.batches)), 1)]
    return Trial(statistics.fmean(first[:1]), statistics.fmean(last))


def _trial_optimizer(model: nn.Module, decay: Decay) -> Optimizer:
    groups = [
        {"params": [parameter], "weight_decay": decay.of(parameter)}
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    return (torch.optim.AdamW if decay.is_decoupled else torch.optim.Adam)(groups, lr=TRIAL_RATE)
