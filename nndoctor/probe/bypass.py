"""Bypass: what the layers do to the size of their inputs when no batch norm puts it right behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from statistics import median

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from nndoctor.probe.activity import Reading, watch
from nndoctor.probe.batch import Batch
from nndoctor.probe.subject import Subject


@dataclass(frozen=True, slots=True)
class Bare:
    """The layers of a model without its batch norms."""

    layers: tuple[Reading, ...]

    @property
    def gains(self) -> list[tuple[float, Reading]]:
        """By what each layer multiplies the size of its input, where that can be told, from least to most."""
        told = [each for each in self.layers if 0 < each.input_size < math.inf and 0 < each.size < math.inf]
        return sorted(((each.size / each.input_size, each) for each in told), key=itemgetter(0))

    @property
    def gain(self) -> float:
        """Of the layer in the middle."""
        return median(gain for gain, _ in self.gains) if self.gains else 1.0

    @property
    def spread(self) -> float:
        """The largest layer by the smallest; infinite once numbers overflow."""
        sizes = [each.size for each in self.layers if each.size != 0]
        if not all(map(math.isfinite, sizes)):
            return math.inf
        return max(sizes) / min(sizes) if sizes else 1.0


def watch_bare(subject: Subject, batch: Batch) -> Bare | None:
    """Read the layers of one forward without batch norms; None for a model that has none. Keep it in a sandbox."""
    norms = [module for module in subject.model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return None
    with _bypassed(norms):
        layers = tuple(reading for reading in watch(subject, [batch]) if reading.is_layer)
    return Bare(layers) if layers else None


@contextmanager
def _bypassed(norms: list[_BatchNorm]) -> Iterator[None]:
    for norm in norms:
        norm.forward = _identity  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _identity(values: Tensor) -> Tensor:
    return values
