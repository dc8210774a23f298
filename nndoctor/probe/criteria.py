"""The losses that the doctor knows by heart: which of them fit given outputs and targets, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (everybody's name for it)
from torch import Tensor

from nndoctor.probe.batch import tensors
from nndoctor.probe.errors import SubjectError
from nndoctor.probe.outputs import are_logarithms, are_probabilities, lies_in_unit_interval
from nndoctor.probe.subject import Split, Task, TaskKind

SMALLEST_PROBABILITY = 1e-12  # keeps the logarithm of a probability finite
WITH_LOGITS = "binary cross-entropy with logits"
IGNORED = -100  # torch's own ignore_index
Find = Callable[[Split], Tensor]
"""Finds the target of a criterion in a split batch."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A known loss of the main output; calling it with the outputs and a split batch gives the mean loss."""

    name: str
    task: Task
    function: Callable[[Tensor, Tensor], Tensor]
    find: Find

    def __call__(self, output: Tensor, split: Split) -> Tensor:
        """The mean loss of these outputs."""
        return self.function(output, self.find(split))


def known_criteria(output: Tensor, split: Split) -> Iterator[Criterion]:
    """Every known loss that fits outputs and targets (or, without targets, the inputs), the likeliest first."""
    targets = tensors(split.targets)
    for index, target in enumerate(targets):
        yield from _against_target(output, target, split, partial(_nth_target, index))
    for index, given in enumerate(tensors(_inputs(split))):
        find = partial(_nth_input, index)
        if not targets and given.shape == output.shape and given.is_floating_point():
            yield from _elementwise(output, given, find)
        if is_integer(given) and given.shape == output.shape[:-1] and output.ndim == 3:
            yield _next_token(output, find)


def _inputs(split: Split) -> list[Any]:
    return [*split.args, *split.kwargs.values()]


def _nth_target(index: int, split: Split) -> Tensor:
    return tensors(split.targets)[index]


def _nth_input(index: int, split: Split) -> Tensor:
    return tensors(_inputs(split))[index]


def is_integer(tensor: Tensor) -> bool:
    """Whether it holds whole numbers by its type; booleans are not counted."""
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def _against_target(output: Tensor, target: Tensor, split: Split, find: Find) -> Iterator[Criterion]:
    class_dim = class_dimension(output, target)
    if class_dim is not None and _holds_indices(target, output.shape[class_dim]):
        yield from _cross_entropies(output, class_dim, split, find)
    if class_dim == -1 and output.ndim == 3 and is_integer(target):
        yield _next_token(output, find)
    if target.shape == output.shape and _rows_are_distributions(target):
        task = Task(TaskKind.CLASSIFICATION, output.shape[-1])
        yield Criterion("cross-entropy with soft targets", task, F.cross_entropy, find)
    if target.numel() == output.numel() and squeezed(target) == squeezed(output):
        yield from _elementwise(output, target, find)


def squeezed(tensor: Tensor) -> list[int]:
    """The shape without dimensions of one."""
    return [size for size in tensor.shape if size != 1]


def class_dimension(output: Tensor, target: Tensor) -> int | None:
    """The dimension of the outputs that counts classes if the targets are class indices, else None."""
    if target.ndim == output.ndim and target.shape[1:2] == (1,):
        target = target.squeeze(1)
    if output.ndim < 2:
        return None
    flat = output.ndim == 2 and output.shape[0] == target.numel()
    if output.shape[-1] > 1 and (output.shape[:-1] == target.shape or flat):
        return -1
    return 1 if output.shape[1] > 1 and output.shape[:1] + output.shape[2:] == target.shape else None


def _holds_indices(target: Tensor, classes: int) -> bool:
    """Whether the targets are class indices; raises SubjectError if they are and the model has too few outputs."""
    if not is_integer(target):
        whole = target.is_floating_point() and bool((target == target.round()).all())
        # Zeros and ones beside more than two outputs are no classes: they may say whether two inputs are alike.
        return whole and bool(((target >= 0) & (target < classes)).all()) and (classes == 2 or bool((target > 1).any()))
    check_indices(target, classes)
    return True


def check_indices(target: Tensor, classes: int) -> None:
    """Raises SubjectError for class indices that no output stands for, unless it is one far value, to be ignored."""
    outside = labels_outside(target, classes)
    if len(outside) > 1 or (outside and 0 <= outside[-1] <= classes):
        raise SubjectError(
            f"the targets hold {outside[-1]}, but the model has {classes} outputs, numbered 0 to {classes - 1}"
        )


def labels_outside(target: Tensor, classes: int) -> list[int]:
    """The values, in order, that are no index of a class."""
    return sorted(set(target[(target < 0) | (target >= classes)].tolist()))


def _rows_are_distributions(target: Tensor) -> bool:
    return target.is_floating_point() and target.ndim == 2 and target.shape[1] > 1 and are_probabilities(target, -1)


def _cross_entropies(output: Tensor, class_dim: int, split: Split, find: Find) -> Iterator[Criterion]:
    kind = TaskKind.LANGUAGE_MODEL if _predicts_tokens(output, class_dim, split) else TaskKind.CLASSIFICATION
    task = Task(kind, output.shape[class_dim], class_dim)
    if are_probabilities(output, class_dim):
        name = "negative log-likelihood of the model's probabilities"
        yield Criterion(name, task, partial(cross_entropy, class_dim=class_dim, probabilities=True), find)
    name = "negative log-likelihood" if are_logarithms(output, class_dim) else "cross-entropy"
    yield Criterion(name, task, partial(cross_entropy, class_dim=class_dim), find)


def _predicts_tokens(output: Tensor, class_dim: int, split: Split) -> bool:
    """Whether the classes are the vocabulary of the inputs, rather than tags."""
    if output.ndim != 3 or class_dim != -1:
        return False
    targets = {id(target) for target in tensors(split.targets)}  # some models are given the targets too
    tokens = [given for given in tensors(_inputs(split)) if is_integer(given) and id(given) not in targets]
    return any(given.numel() and 1 < int(given.max()) < output.shape[-1] for given in tokens)


def cross_entropy(output: Tensor, target: Tensor, class_dim: int = -1, *, probabilities: bool = False) -> Tensor:
    """Mean cross-entropy of logits or log-probabilities along `class_dim`; labels outside the classes are ignored."""
    classes = output.shape[class_dim]
    rows = output.movedim(class_dim, -1).reshape(-1, classes)
    labels = target.reshape(-1).long()
    labels = labels.where((labels >= 0) & (labels < classes), IGNORED)
    if probabilities:
        return F.nll_loss(rows.clamp_min(SMALLEST_PROBABILITY).log(), labels, ignore_index=IGNORED)
    return F.cross_entropy(rows, labels, ignore_index=IGNORED)


def _next_token(output: Tensor, find: Find) -> Criterion:
    task = Task(TaskKind.LANGUAGE_MODEL, output.shape[-1])
    return Criterion("cross-entropy of the next token", task, _shifted, find)


def _shifted(output: Tensor, tokens: Tensor) -> Tensor:
    return cross_entropy(output[:, :-1], tokens[:, 1:])


def _elementwise(output: Tensor, target: Tensor, find: Find) -> Iterator[Criterion]:
    units = output.shape[-1] if output.ndim > 1 else 1
    binary = target.dtype == torch.bool or bool(((target == 0) | (target == 1)).all())
    fits_unit = target.is_floating_point() and bool(((target >= 0) & (target <= 1)).all())
    if binary or (fits_unit and lies_in_unit_interval(output)):
        task = Task(TaskKind.MULTI_LABEL, units) if binary else Task(TaskKind.REGRESSION)
        if lies_in_unit_interval(output):
            yield Criterion("binary cross-entropy", task, _alike(F.binary_cross_entropy), find)
        yield Criterion(WITH_LOGITS, task, _alike(F.binary_cross_entropy_with_logits), find)
    regression = Task(TaskKind.REGRESSION)
    yield Criterion("mean squared error", regression, _alike(F.mse_loss), find)
    yield Criterion("mean absolute error", regression, _alike(F.l1_loss), find)
    yield Criterion("smooth L1 loss", regression, _alike(F.smooth_l1_loss), find)
    yield Criterion("squared error, summed", regression, _alike(partial(F.mse_loss, reduction="sum")), find)


def _alike(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The elementwise loss on targets brought to the shape and type of the outputs."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        # Binary cross-entropy of probabilities is refused under autocast; float32 is right for a loss anyway.
        with torch.autocast(output.device.type, enabled=False):
            return function(output.float(), target.reshape(output.shape).float())

    return loss
