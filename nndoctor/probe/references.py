"""Reference losses: of all-zero outputs, and of the best outputs that are the same for every example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.floors import BOTTOMLESS
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
    per_example: bool = False  # one prediction an example, rather than one a token, pixel or label


@dataclass(frozen=True, slots=True)
class Observed:
    """What a forward gave, without its graph."""

    loss: Tensor
    split: Split
    output: Tensor | None  # the main output, at least in float32; None where only the step knows what it is
    confined: OutputRange
    has_graph: bool  # of the loss


def observe(subject: Subject, batch: Batch) -> Observed:
    """Run the model on the batch, in the mode that it is in."""
    with torch.enable_grad():  # the last operation is read from the graph
        loss, outputs = subject.compute_loss(subject.model, batch)
    split = subject.split(batch)
    try:
        output = subject.output_tensor(outputs)
    except NotApplicableError:
        return Observed(loss.detach(), split, None, FREE, loss.requires_grad)
    confined = output_range(output, subject.task.class_dim)
    return Observed(loss.detach(), split, at_least_float32(output.detach()), confined, loss.requires_grad)


def measure_references(subject: Subject, observed: Sequence[Observed]) -> References:
    """Mean loss over the batches, and the losses to compare it with."""
    initial = float(torch.stack([each.loss for each in observed]).mean())
    outputs = [each.output for each in observed if each.output is not None]
    if subject.criterion is None or len(outputs) < len(observed):
        return References(initial)
    units, confined = unit_dimension(outputs[0], subject.task), observed[0].confined
    zeros = outputs[0].new_zeros(outputs[0].shape[units] if outputs[0].ndim > 1 else 1)
    constant = fit_constant(subject, observed, confined, units, zeros)
    values = torch.cat([output.flatten() for output in outputs])
    return References(
        initial=initial,
        zero=_finite(loss_of_constant(subject, observed, confined, units, zeros)),
        prior=None if constant is None else _finite(loss_of_constant(subject, observed, confined, units, constant)),
        constant=() if constant is None else _as_reported(constant, subject.task),
        output_mean=float(values.mean()),
        output_deviation=float(values.std()),
        examples=values.numel() // max(zeros.numel(), 1),
        per_example=outputs[0].ndim == 1 or (outputs[0].ndim == 2 and _predicts_one(subject.task)),
    )


def at_least_float32(output: Tensor) -> Tensor:
    """Half precision is too coarse to optimise in."""
    return output if output.dtype is torch.float64 else output.float()


def _predicts_one(task: Task) -> bool:
    return task.kind in CLASS_TASKS or task.classes == 1


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
        assert each.output is not None, "the caller has seen it"
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
    constant = nn.Parameter(first_guess(subject.task, observed, confined, units, zeros))
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
    lowest = loss_of_constant(subject, observed, confined, units, constant.detach())
    return constant.detach() if lowest is not None and float(lowest) > BOTTOMLESS else None


def first_guess(task: Task, observed: Sequence[Observed], confined: OutputRange, units: int, zeros: Tensor) -> Tensor:
    """The exact answer for the commonest losses: log-frequencies, log-odds, means; zeros for all others."""
    targets = [first_tensor(each.split.targets) for each in observed]
    if task.kind in CLASS_TASKS:
        labels = torch.cat([target.flatten() for target in targets if target is not None] or [zeros[:0]]).long()
        counts = torch.bincount(labels[(labels >= 0) & (labels < zeros.numel())], minlength=zeros.numel())
        return counts.to(zeros.dtype).clamp_min(1e-3).log() if len(labels) else zeros.clone()
    rows = [
        target.reshape(each.output.shape).movedim(units, -1).reshape(-1, zeros.numel())
        for each, target in zip(observed, targets, strict=True)
        if each.output is not None and target is not None and target.numel() == each.output.numel()
    ]
    if len(rows) < len(observed):
        return zeros.clone()
    means = torch.cat(rows).to(zeros.dtype).mean(0)
    if task.kind is TaskKind.MULTI_LABEL:
        return means.clamp(1e-6, 1 - 1e-6).logit()
    return means if confined is FREE else zeros.clone()


def first_tensor(value: object) -> Tensor | None:
    """The first tensor of a nested structure."""
    return next(iter(tensors(value)), None)


def _finite(value: Tensor | None) -> float | None:
    return float(value.detach()) if value is not None and bool(value.isfinite()) else None
