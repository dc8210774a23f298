"""Rows: the examples of the kept batches as fingerprints, to see which of them are the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, batch_index, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.subject import Subject

# Shorter rows, or rows of few different values (bits, categories), may well be equal by chance.
FEWEST_VALUES = 8
FEWEST_DISTINCT = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples of some batches; each number stands for the content of one example's inputs."""

    batches: tuple[tuple[int, ...], ...]
    rich: bool  # so many different values that equal rows are no chance

    @property
    def count(self) -> int:
        """Of examples."""
        return sum(map(len, self.batches))

    @property
    def distinct(self) -> int:
        """Of different examples in all batches."""
        return len({row for rows in self.batches for row in rows})

    @property
    def distinct_share(self) -> float:
        """Different examples within a batch, as a share of the batch, over all batches; 1 where there are none."""
        return sum(len(set(rows)) for rows in self.batches) / self.count if self.count else 1.0

    def shared_with(self, others: Rows) -> int:
        """How many of these examples are among the others."""
        known = {row for rows in others.batches for row in rows}
        return sum(row in known for rows in self.batches for row in rows)


def read_rows(subject: Subject, batches: Iterable[Batch], size: int | None) -> Rows:
    """The inputs of each example; a batch whose examples cannot be told apart is left out."""
    found: list[tuple[int, ...]] = []
    rich = True
    for batch in batches:
        sizes = likely_sizes(batch, size)
        inputs = example_inputs(subject, batch, sizes[0]) if sizes else []
        if inputs:
            found.append(_fingerprints(inputs))
            rich = rich and any(map(_is_rich, inputs))
    return Rows(tuple(found), rich and bool(found))


def example_inputs(subject: Subject, batch: Batch, size: int) -> list[Tensor]:
    """(size, values) for each input that holds one row an example: neither targets nor shared tensors."""
    split = subject.split(batch)
    targets = {id(target) for target in tensors(split.targets)}
    rows: list[Tensor] = []
    for given in tensors((split.args, split.kwargs)):
        if id(given) in targets or given.layout is not torch.strided or size not in given.shape[:2]:
            continue
        dim = len(batch_index(given, size, slice(None))) - 1
        rows.append(given.detach().movedim(dim, 0).reshape(size, -1))
    return rows


def _fingerprints(inputs: list[Tensor]) -> tuple[int, ...]:
    parts = [part.contiguous().view(torch.uint8).cpu().numpy() for part in map(_as_plain, inputs)]
    return tuple(hash(b"".join(part[row].tobytes() for part in parts)) for row in range(len(parts[0])))


def _as_plain(rows: Tensor) -> Tensor:
    return rows.to(torch.uint8) if rows.dtype is torch.bool else rows


def _is_rich(rows: Tensor) -> bool:
    return rows.shape[1] >= FEWEST_VALUES and len(rows[:, :1024].unique()) >= FEWEST_DISTINCT  # type: ignore[no-untyped-call]
