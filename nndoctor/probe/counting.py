"""How many examples a batch has, where its tensors have other dimensions of about that size, such as time."""

from __future__ import annotations

import itertools
from collections import Counter

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, tensors

PADDING = 0  # the token id that fills up short sequences


def likely_sizes(batch: Batch, hint: int | None = None) -> list[int]:
    """The number of examples of a batch, and behind it any other number that all of its tensors would fit as well.

    Every tensor counts the examples along its first dimension, or along its second behind the time steps. The hint is
    what the loader says; it holds unless the tensors contradict it, as in a last batch.
    """
    every = [tensor for tensor in tensors(batch) if tensor.ndim]
    voters = _voters([tensor for tensor in every if not _is_flattened(tensor, every)])
    votes: Counter[int] = Counter()
    for tensor in voters:
        votes.update({tensor.shape[0]: 2})
        votes.update(tensor.shape[1:2])
    fitting = [size for size in votes if size > 1 and all(size in tensor.shape[:2] for tensor in voters)]
    for known in (hint, _size_beside_time(voters, every)):
        if known in fitting:
            return [known]
    if not votes:
        return []
    leading = Counter(tensor.shape[0] for tensor in voters if tensor.ndim > 1)
    likeliest = max(votes, key=lambda size: (votes[size], leading[size]))
    return [likeliest, *(size for size in fitting if size != likeliest)]


def _is_flattened(tensor: Tensor, every: list[Tensor]) -> bool:
    """Whether it counts examples times time steps, as the targets of a language model often do."""
    return tensor.ndim == 1 and any(
        other.ndim > 1 and min(other.shape[:2]) > 1 and tensor.shape[0] == other.shape[0] * other.shape[1]
        for other in every
    )


def _voters(every: list[Tensor]) -> list[Tensor]:
    """The tensors without those that examples share, as a mask (time, time) or positions (1, time)."""
    own = [tensor for tensor in every if tensor.shape[0] > 1 and tensor.shape[:1] != tensor.shape[1:2]]
    return own if 2 * len(own) >= len(every) else every


def _size_beside_time(voters: list[Tensor], every: list[Tensor]) -> int | None:
    """The size of the other of the first two dimensions, where one of them is seen to be time."""
    sequences = [tensor for tensor in voters if tensor.ndim > 1 and tensor.layout is torch.strided]
    evidence = [(one, _shifted_along(one, other)) for one, other in itertools.product(sequences, every)]
    evidence += [(tensor, _padded_along(tensor)) for tensor in sequences]
    return next((tensor.shape[1 - time] for tensor, time in evidence if time is not None), None)


def _shifted_along(one: Tensor, other: Tensor) -> int | None:
    """The dimension along which `other` is `one` a step later, as the targets of a language model are."""
    if other.ndim == 1 and other.numel() == one.numel():
        other = other.view(one.shape)
    if one.shape != other.shape or one.dtype != other.dtype:
        return None
    steps = [one.shape[dim] - 1 for dim in (0, 1)]
    shifted = [
        steps[dim] > 0 and torch.equal(one.narrow(dim, 1, steps[dim]), other.narrow(dim, 0, steps[dim]))
        for dim in (0, 1)
    ]
    return shifted.index(True) if sum(shifted) == 1 else None


def _padded_along(tensor: Tensor) -> int | None:
    """The dimension along which token ids end in padding in some rows."""
    if tensor.ndim != 2 or tensor.is_floating_point() or not (tensor == PADDING).any():
        return None
    kept = (tensor != PADDING).long()
    ends = [bool((kept.diff(dim=dim) <= 0).all()) for dim in (0, 1)]
    return ends.index(True) if sum(ends) == 1 else None
