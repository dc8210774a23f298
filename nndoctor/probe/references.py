"""Reference losses: of all-zero outputs, and of the best outputs that are the same for every example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.ranges import FREE, OutputRange, output_range
from nndoctor.probe.subject import Split, Subject, Task, TaskKind

# L-BFGS on one constant a class or unit; where the first guess is exact it stops after two evaluations.
FIT_ITERATIONS = 30
CLASS_TASKS = (TaskKind.CLASSIFICATION, TaskKind.LANGUAGE_MODEL)


@dataclass(frozen=True, slots=True)
class References:
    """Losses before any training; `constant` holds the best constant outputs, before a softmax or sigmoid."""

    initial: float
    zero: float | None = None
    prior: float | None = None
    constant: tuple[float, ...] = ()
    output_mean: float = math.nan
    output_deviation: float = math.nan
    examples: int = 0  # predictions that the figures rest on


@dataclass(frozen=True, slots=True)
class Observed:
    """One batch after a forward: the main output and what the loss is given."""

    output: Tensor
    split: Split


def measure_references(subject: Subject, batches: Sequence[Batch]) -> References:
    """Mean losses over the batches, in the mode that the model is in; leaves the weights alone."""
    losses: list[Tensor] = []
    observed: list[Observed] = []
    for batch in batches:
        with torch.enable_grad():  # the last operation is read from the graph
            loss, outputs = subject.compute_loss(subject.model, batch)
        losses.append(loss.detach())
        if subject.criterion:
            observed.append(Observed(subject.output_tensor(outputs), subject.split(batch)))
    initial = float(torch.stack(losses).mean())
    return _with_references(subject, initial, observed) if observed else References(initial)


def _with_references(subject: Subject, initial: float, observed: Sequence[Observed]) -> References:
    task, confined = subject.task, output_range(observed[0].output, subject.task.class_dim)
    detached = [Observed(at_least_float32(each.output.detach()), each.split) for each in observed]
    values = torch.cat([each.output.flatten() for each in detached])
    units = unit_dimension(detached[0].output, task)
    zeros = detached[0].output.new_zeros(detached[0].output.shape[units] if detached[0].output.ndim > 1 else 1)
    constant = fit_constant(subject, detached, confined, units, zeros)
    return References(
        initial=initial,
        zero=_finite(loss_of_constant(subject, detached, confined, units, zeros)),
        prior=None if constant is None else _finite(loss_of_constant(subject, detached, confined, units, constant)),
        constant=() if constant is None else _as_reported(constant, task),
        output_mean=float(values.mean()),
        output_deviation=float(values.std()),
        examples=sum(each.output.numel() // max(zeros.numel(), 1) for each in detached),
    )


def at_least_float32(output: Tensor) -> Tensor:
    """Half precision is too coarse to optimise in."""
    return output if output.dtype is torch.float64 else output.float()


def _as_reported(constant: Tensor, task: Task) -> tuple[float, ...]:
    """Logits are only determined up to a common constant; as log-frequencies they say the most."""
    values = constant.log_softmax(0) if task.kind in CLASS_TASKS else constant
    return tuple(values.tolist())


def unit_dimension(output: Tensor, task: Task) -> int:
    """The dimension that a last bias has: classes, channels of a picture, else the last one."""
    if task.kind in CLASS_TASKS:
        return task.class_dim
    return 1 if output.ndim >= 4 else -1


def loss_of_constant(
    subject: Subject, observed: Sequence[Observed], confined: OutputRange, units: int, constant: Tensor
) -> Tensor | None:
    """Mean loss if every prediction were `link(constant)`; None if the loss cannot be computed for it."""
    criterion = subject.criterion
    assert criterion is not None, "the caller has seen it"
    losses = []
    for each in observed:
        shape = [1] * each.output.ndim
        shape[units] = constant.numel()
        outputs = confined.link(constant.view(shape).expand(each.output.shape))
        try:
            losses.append(criterion(outputs, each.split))
        except (RuntimeError, ValueError, IndexError, TypeError):  # a loss that reads more than the main output
            return None
    return torch.stack(losses).mean()


def fit_constant(
    subject: Subject, observed: Sequence[Observed], confined: OutputRange, units: int, zeros: Tensor
) -> Tensor | None:
    """The best constant outputs for any differentiable loss; None if there are none, or no best ones."""
    constant = nn.Parameter(first_guess(subject.task, observed, confined, zeros))
    optimizer = torch.optim.LBFGS([constant], max_iter=FIT_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of_constant(subject, observed, confined, units, constant)
        if loss is None or not loss.requires_grad:
            raise NotApplicableError("the loss is no function of the outputs")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    try:
        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    except (NotApplicableError, RuntimeError):
        return None
    return constant.detach() if bool(constant.isfinite().all()) else None


def first_guess(task: Task, observed: Sequence[Observed], confined: OutputRange, zeros: Tensor) -> Tensor:
    """The exact answer for the commonest losses: log-frequencies, log-odds, means; zeros for all others."""
    units = unit_dimension(observed[0].output, task)
    pairs = [(each.output, first_tensor(each.split.targets)) for each in observed]
    if task.kind in CLASS_TASKS:
        labels = torch.cat([target.flatten() for _, target in pairs if target is not None] or [zeros[:0]]).long()
        counts = torch.bincount(labels[(labels >= 0) & (labels < zeros.numel())], minlength=zeros.numel())
        return counts.to(zeros.dtype).clamp_min(1e-3).log() if counts.numel() == zeros.numel() else zeros.clone()
    if any(target is None or target.numel() != output.numel() for output, target in pairs):
        return zeros.clone()
    rows = [
        target.reshape(output.shape).movedim(units, -1).reshape(-1, zeros.numel())
        for output, target in pairs
        if target is not None
    ]
    means = torch.cat(rows).to(zeros.dtype).mean(0)
    if task.kind is TaskKind.MULTI_LABEL:
        return means.clamp(1e-6, 1 - 1e-6).logit()
    return means if confined is FREE else zeros.clone()


def first_tensor(value: object) -> Tensor | None:
    """The first tensor of a nested structure."""
    return next(iter(tensors(value)), None)


def _finite(value: Tensor | None) -> float | None:
    return float(value.detach()) if value is not None and bool(value.isfinite()) else None
