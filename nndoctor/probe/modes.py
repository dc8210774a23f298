"""Train and eval mode side by side: batch norm's two statistics, the variance that dropout adds, chance in eval."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nndoctor.probe.batch import Batch, clone, tensors
from nndoctor.probe.dynamics import train_as_is
from nndoctor.probe.fitting import calm
from nndoctor.probe.ownership import RESHAPES
from nndoctor.probe.recording import Operation, Recording, compare, record
from nndoctor.probe.subject import Subject

# Operations that only arrange what they are given.
MOVES = RESHAPES | {"flatten", "squeeze", "unsqueeze", "permute", "transpose", "contiguous", "__getitem__", "float"}
DROPOUT = re.compile(r"(alpha_|feature_)?dropout(\d?d)?")


@dataclass(frozen=True, slots=True)
class Norm:
    """One batch norm after a short fit."""

    name: str
    momentum: float | None
    moved: bool  # its running statistics
    calls: int  # in one forward
    shift: float  # variance of its input with dropout by that without


@dataclass(frozen=True, slots=True)
class Gap:
    """Mean losses after a short fit, dropout off, on the batches that were fitted."""

    initial: float
    running: float  # in eval mode: batch norm divides by its running statistics
    batch: float  # ... by those of the batch
    refreshed: float  # ... by running statistics that were gathered anew from these batches


def active_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Batch norms that train mode lets gather statistics; what stays in eval mode is frozen on purpose."""
    model.train()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training and module.running_var is not None
    }


def fit_and_compare(subject: Subject, deadline: float) -> tuple[Gap | None, list[Norm]]:
    """Train a little with the user's optimizer, then look at the batch norms in both modes; keep it in a sandbox."""
    norms = active_norms(subject.model)
    before = {name: clone([norm.running_mean, norm.running_var]) for name, norm in norms.items()}
    losses = train_as_is(subject, deadline).losses
    moved = {
        name: not all(map(torch.equal, before[name], tensors([norm.running_mean, norm.running_var])))
        for name, norm in norms.items()
    }
    batches = subject.batches.first()
    shifts, calls = _shifts(subject, norms, batches)
    found = [Norm(name, norm.momentum, moved[name], calls[name], shifts[name]) for name, norm in norms.items()]
    gap = None
    with suppress(Exception):  # a model that gives no loss in eval mode has no gap to measure
        gap = Gap(losses[0], *_losses(subject, norms, batches))
    finite = gap is not None and all(map(math.isfinite, (gap.initial, gap.running, gap.batch, gap.refreshed)))
    return gap if finite else None, found


@torch.no_grad()
def _losses(subject: Subject, norms: dict[str, _BatchNorm], batches: Sequence[Batch]) -> tuple[float, float, float]:
    """Mean losses in eval mode: with running statistics, with those of each batch, with refreshed ones."""
    with subject.sandbox():
        subject.model.eval()
        running = _mean_loss(subject, batches)
    with subject.sandbox():
        subject.model.eval()
        for norm in norms.values():
            norm.train()
        of_batch = _mean_loss(subject, batches)
    with subject.sandbox():
        calm(subject.model)
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
        _mean_loss(subject, batches)
        subject.model.eval()
        return running, of_batch, _mean_loss(subject, batches)


def _mean_loss(subject: Subject, batches: Sequence[Batch]) -> float:
    losses = [float(subject.compute_loss(subject.model, clone(batch))[0]) for batch in batches]
    return sum(losses) / len(losses)


def _shifts(
    subject: Subject, norms: dict[str, _BatchNorm], batches: Sequence[Batch]
) -> tuple[dict[str, float], dict[str, int]]:
    """How much dropout adds to the variance that enters each batch norm, and how often each runs in a forward."""
    seen: list[dict[str, list[float]]] = []
    for prepare in (lambda model: model.train(), calm):
        with subject.sandbox(), torch.no_grad(), _input_variances(norms) as variances:
            prepare(subject.model)
            _mean_loss(subject, batches)
        seen.append(variances)
    with_dropout, without = seen
    shifts = {name: sum(with_dropout[name]) / (sum(without[name]) or math.inf) for name in norms}
    return shifts, {name: len(without[name]) // len(batches) for name in norms}


@contextmanager
def _input_variances(norms: dict[str, _BatchNorm]) -> Iterator[dict[str, list[float]]]:
    variances: dict[str, list[float]] = {name: [] for name in norms}

    def look(name: str, values: Tensor) -> None:
        variances[name].append(float(values.float().transpose(0, 1).flatten(1).var(dim=1).mean()))

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs[0]))
        for name, norm in norms.items()
    ]
    try:
        yield variances
    finally:
        for hook in hooks:
            hook.remove()


def dropped_outputs(subject: Subject, batch: Batch) -> tuple[Operation, float] | None:
    """The dropout that gives the main output in train mode, and the share of it that is zero; keep it in a sandbox."""
    kept: list[Tensor] = []

    def outputs() -> list[Tensor]:
        kept.append(subject.output_tensor(subject.forward(subject.model, batch)))
        return kept

    subject.model.train()
    with torch.no_grad():
        recording = record(outputs, subject.model)
    last = next(iter(recording.sources[0]), None)
    while last is not None and recording.operations[last].name in MOVES:
        last = next(iter(recording.operations[last].inputs), None)
    if last is None or not DROPOUT.fullmatch(recording.operations[last].name):
        return None
    return recording.operations[last], float((kept[0] == 0).float().mean())


def random_in_eval(subject: Subject, batch: Batch) -> Operation | None:
    """The first operation in eval mode that gives another result with other random numbers; keep it in a sandbox."""
    subject.model.eval()
    first, second = (_recorded(subject, batch, seed) for seed in (subject.seed, subject.seed + 1))
    if all(torch.equal(one.sample, other.sample) for one, other in zip(first.returned, second.returned, strict=False)):
        return None
    difference = compare(first, second)
    return difference.first if difference else None


def _recorded(subject: Subject, batch: Batch, seed: int) -> Recording:
    with subject.sandbox(), torch.no_grad():
        torch.manual_seed(seed)
        return record(lambda: tensors(subject.forward(subject.model, clone(batch))), subject.model)
