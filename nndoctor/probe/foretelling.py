"""Foretelling: which input the model is trained to predict at each step of a sequence, read from the loss itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.criteria import is_integer
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import calm
from nndoctor.probe.references import CLASS_TASKS
from nndoctor.probe.subject import Subject

FARTHEST = 3  # steps ahead that are looked for; targets shifted by the loader and by the model are 2 ahead
# The share of the targets that are the input so many steps later. One for plain language models; a corrupted input
# (word dropout, masked language models) has less, and is no next-step prediction without doubt.
AGREEMENT = 0.95
# Text that repeats itself agrees with several shifts; then nothing can be told.
RIVAL = 0.8
FEWEST_TARGETS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Foretelling:
    """The target at step t is input `number` at step t + `shift`."""

    number: int  # of the input among the tensors of (args, kwargs)
    time: int  # its dimension that counts the steps
    shift: int
    counted: Tensor  # of the first two dimensions of a token input, or of all of another: the loss reads the output
    class_dim: int | None  # of the output; None where outputs have the shape of the inputs

    def by_step(self, change: Tensor) -> Tensor:
        """(T,): the norm of a change of the output at each step, of what the loss reads of it."""
        if self.class_dim is not None:
            change = change.movedim(self.class_dim, -1)
        rows = change.float().reshape(*self.counted.shape, -1) * self.counted.unsqueeze(-1)
        norms: Tensor = torch.linalg.vector_norm(rows.movedim(self.time, 0).flatten(1), dim=1)
        return norms.cpu()


@dataclass(frozen=True, slots=True)
class _Match:
    share: float
    shift: int
    time: int


def read_foretelling(subject: Subject, batch: Batch) -> Foretelling:
    """Raises NotApplicableError for a model that is not trained to predict its own inputs.

    Runs the model with gradients; the caller keeps it in a sandbox.
    """
    split = subject.split(batch)
    targets = tensors(split.targets)
    inputs = [
        (number, given)
        for number, given in enumerate(tensors((split.args, split.kwargs)))
        if all(given is not target for target in targets)
    ]
    sequences = [(number, given) for number, given in inputs if given.ndim > 1 and min(given.shape) > 0]
    if not sequences:
        raise NotApplicableError("no input is a sequence")
    calm(subject.model)
    loss, outputs = subject.compute_loss(subject.model, batch)
    output = subject.output_tensor(outputs)
    for found in itertools.chain(
        _tokens_foretold(subject, batch, sequences, loss, output), _values_foretold(sequences, targets, output)
    ):
        return found
    raise NotApplicableError("the targets are not the inputs of another step, so there is no order of time to keep")


def _tokens_foretold(
    subject: Subject, batch: Batch, sequences: list[tuple[int, Tensor]], loss: Tensor, output: Tensor
) -> Iterator[Foretelling]:
    class_dim = subject.task.class_dim if subject.task.kind in CLASS_TASKS else -1
    if output.ndim < 2 or not loss.requires_grad:
        return
    (gradient,) = torch.autograd.grad(loss, output, allow_unused=True)
    if gradient is None:
        return
    lowest, asked = gradient.min(dim=class_dim)  # only a higher logit of the right token lowers a cross-entropy
    for number, tokens in sequences:
        if tokens.ndim != 2 or not is_integer(tokens) or not _fits(asked, tokens):
            continue
        counted = (lowest < 0).view(tokens.shape)
        if match := _clear_match(asked.view(tokens.shape), tokens, counted, _time_first(subject, batch, tokens)):
            yield Foretelling(number, match.time, match.shift, counted, class_dim)


def _fits(asked: Tensor, tokens: Tensor) -> bool:
    """Whether there is one target a token; outputs may come as (examples * time, classes)."""
    return asked.shape == tokens.shape or (asked.ndim == 1 and asked.numel() == tokens.numel())


def _time_first(subject: Subject, batch: Batch, tokens: Tensor) -> list[int]:
    """The two dimensions of the tokens, the one that probably counts the steps first."""
    sizes = likely_sizes(batch, subject.batches.size)
    return [0, 1] if sizes and tokens.shape[0] != sizes[0] == tokens.shape[1] else [1, 0]


def _values_foretold(
    sequences: list[tuple[int, Tensor]], targets: list[Tensor], output: Tensor
) -> Iterator[Foretelling]:
    """Forecasts: the targets are the inputs a step later, value for value; equal ones may be an autoencoder's."""
    for (number, given), target in itertools.product(sequences, targets):
        if not given.is_floating_point() or not given.shape == target.shape == output.shape:
            continue
        counted = torch.ones_like(given, dtype=torch.bool)
        match = _clear_match(target, given, counted, range(min(given.ndim, 3)))
        if match and match.shift:
            yield Foretelling(number, match.time, match.shift, counted, None)


def _clear_match(asked: Tensor, given: Tensor, counted: Tensor, dims: list[int] | range) -> _Match | None:
    """The shift at which the targets are the inputs, None if there is none, or another one nearly as good."""
    found = [
        _Match(share, shift, dim)
        for dim in dims
        for shift in range(FARTHEST + 1)
        if (share := _share(asked, given, counted, dim, shift)) is not None
    ]
    if not found:
        return None
    best = max(found, key=lambda match: match.share)  # of equals the first: unshifted targets have no dimension
    rivals = [match.share for match in found if match.shift != best.shift or (best.shift and match.time != best.time)]
    return best if best.share >= AGREEMENT and max(rivals, default=0.0) <= RIVAL else None


def _share(asked: Tensor, given: Tensor, counted: Tensor, dim: int, shift: int) -> float | None:
    """The share of the targets that are the input `shift` steps later along `dim`; None if they are too few."""
    steps = given.shape[dim] - shift
    if steps < 1:
        return None
    weights = counted.narrow(dim, 0, steps)
    if int(weights.sum()) < FEWEST_TARGETS:
        return None
    same = asked.narrow(dim, 0, steps) == given.narrow(dim, shift, steps)
    return float((same & weights).sum() / weights.sum())
