"""Smoothers: what the inputs say of the targets by themselves, measured with neighbours and ridge regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 5
MOST_EXAMPLES = 1024  # a smoother has as many rows and columns
MOST_ELEMENTS = 2**26  # a quarter of a gigabyte, and as much again for spectra
MOST_FEATURES = 4096  # beyond it they are hashed, which keeps distances
PERMUTATIONS = 200
SHORTEST_WAVE = 4  # a dimension of fewer elements has no spectrum to speak of


@dataclass(frozen=True, slots=True)
class Signal:
    """How well the targets are foretold, in standard deviations above targets that are permuted."""

    view: str  # of the inputs
    method: str
    deviations: float


def manageable(inputs: Tensor) -> int:
    """How many examples of the inputs (n, ...) can be compared with one another."""
    return min(len(inputs), MOST_EXAMPLES, max(MOST_ELEMENTS // max(inputs[0].numel(), 1), 2))


def signals(inputs: Tensor, targets: Tensor, seed: int) -> Iterator[Signal]:
    """Of every view of the inputs (n, ...) and each method, each example foretold by the others; targets are (n, k)."""
    centred = targets - targets.mean(0)
    for view, features in _views(inputs.float()):
        standard = _standardised(features)
        if standard is None:
            continue
        for method, smoother in (("neighbours", _neighbours(standard)), ("ridge regression", _ridge(standard))):
            yield Signal(view, method, above_chance(smoother @ centred, centred, seed))


def above_chance(foretold: Tensor, centred: Tensor, seed: int) -> float:
    """How much better (n, k) predictions agree with their own targets than with those of other examples.

    For predictions that were made from the targets themselves, each without its own, it is all but the same.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(centred), generator=generator) for _ in range(PERMUTATIONS)])
    agreements = foretold @ centred.T  # of each prediction with every target
    agreement = float(agreements.trace())
    chance = agreements.gather(1, orders.to(centred.device).T).sum(0)
    deviation = float(chance.std())
    return (agreement - float(chance.mean())) / deviation if deviation else 0.0


def _views(inputs: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The values, and the spectra of what has waves: shifted patterns have the same."""
    yield "values", inputs.flatten(1)
    last = range(1, inputs.ndim)
    along = [tuple(last[-2:])] if inputs.ndim > 3 else [(dim,) for dim in last if inputs.ndim == 3]
    for dims in along:
        if min(inputs.shape[dim] for dim in dims) >= SHORTEST_WAVE:
            yield (
                f"spectrum along dimension {', '.join(map(str, dims))}",
                torch.fft.fftn(inputs, dim=dims).abs().flatten(1),
            )


def _standardised(features: Tensor) -> Tensor | None:
    """(n, d) with mean 0 and deviation 1, without features that never change; None if none is left."""
    if features.shape[1] > MOST_FEATURES:
        features = _hashed(features)
    features = features.double()
    deviation = features.std(0)
    changing = deviation > 1e-9 * features.abs().max().clamp_min(1e-30)
    if not bool(changing.any()):
        return None
    return (features[:, changing] - features[:, changing].mean(0)) / deviation[changing]


def _hashed(features: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    count = features.shape[1]
    buckets = torch.randint(MOST_FEATURES, (count,), generator=generator).to(features.device)
    signs = (2 * torch.randint(2, (count,), generator=generator) - 1).to(features)
    return features.new_zeros(len(features), MOST_FEATURES).index_add_(1, buckets, features * signs)


def _neighbours(features: Tensor) -> Tensor:
    """(n, n): the mean of the nearest other examples."""
    distances = torch.cdist(features, features).fill_diagonal_(torch.inf)
    nearest = distances.topk(min(NEIGHBOURS, len(features) - 1), largest=False).indices
    return torch.zeros_like(distances).scatter_(1, nearest, 1 / nearest.shape[1])


def _ridge(features: Tensor) -> Tensor:
    """(n, n): ridge regression that leaves each example out of its own prediction."""
    gram = features @ features.T
    weight = gram.diagonal().mean()  # as strong as the mean of the eigenvalues
    hat = torch.linalg.solve(gram + weight * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), gram)
    own = hat.diagonal().clone()
    smoother: Tensor = hat.fill_diagonal_(0) / (1 - own).unsqueeze(1)
    return smoother
