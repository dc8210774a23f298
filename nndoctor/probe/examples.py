"""Examples: a few of a batch as the model sees them, and how one is changed without changing anything else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nndoctor.probe.batch import Batch, children, clone, leaves, map_tensors, take, tensors
from nndoctor.probe.subject import Split, Subject

# Few, so that the probe is cheap; odd and prime where the batch allows, so that the number of examples is seldom the
# size of another dimension too and a view that confuses the two is recognised.
PREFERRED_COUNTS = (7, 5, 11, 3, 8, 6, 4, 2)
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with: positional and named arguments."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """A few examples as the model sees them: `model(*args, **kwargs)`."""

    count: int
    size: int  # of the batch from which they were taken
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[tuple[int, int], ...]  # the inputs that may be changed: number among the tensors, batch dimension

    def call(self) -> Call:
        """Arguments that the model may change in place."""
        return clone((self.args, self.kwargs))  # type: ignore[no-any-return]

    def edited(self, example: int) -> Call:
        """The same with one example changed; the values stay such as the model is used to."""
        call = self.call()
        inputs = tensors(call)
        for number, dim in self.places:
            _edit(inputs[number], dim, example)
        return call

    def with_other_input(self, number: int) -> Call:
        """The same with one of the inputs in `places` changed in every example."""
        call = self.call()
        for example in range(self.count):
            _edit(tensors(call)[number], dict(self.places)[number], example)
        return call

    def with_leaves(self) -> tuple[Call, list[tuple[Tensor, int]]]:
        """The same with gradients, and the leaves that receive them, each with its batch dimension."""
        dims = dict(self.places)
        found: list[tuple[Tensor, int]] = []
        numbers = itertools.count()

        def prepare(tensor: Tensor) -> Tensor:
            dim = dims.get(next(numbers))
            if dim is None or not tensor.is_floating_point():
                return tensor.detach().clone()
            leaf = tensor.detach().clone().requires_grad_()
            found.append((leaf, dim))
            return leaf.clone()  # so that the model may change it in place

        return map_tensors(prepare, (self.args, self.kwargs)), found


def few_examples(subject: Subject, batch: Batch, size: int) -> Iterator[Examples]:
    """Readings of the batch to try in turn: a few of its examples, then all, for a model that knows its batch size."""
    counts = [count for count in PREFERRED_COUNTS if count <= size]
    other_sizes = {n for tensor in tensors(batch) for n in tensor.shape} - {size}
    distinct = [count for count in counts if all(n % count for n in other_sizes)]
    for count in dict.fromkeys([*distinct[:1], *counts[:1], size]):
        split = subject.split(take(batch, slice(0, count), size))
        if places := _places(split, count):
            yield Examples(count, size, split.args, split.kwargs, places)


def _places(split: Split, count: int) -> tuple[tuple[int, int], ...]:
    """The inputs to change: neither targets nor masks nor lengths, which decide how the others are read."""
    inputs = {
        number: (tensor, tensor.shape[:2].index(count))
        for number, tensor in enumerate(tensors((split.args, split.kwargs)))
        if count in tensor.shape[:2] and tensor.dtype is not torch.bool
    }
    targets = {id(tensor) for tensor in tensors(split.targets)}
    content = {number for number, (tensor, _) in inputs.items() if _is_content(tensor)}
    chosen = {number for number in content if id(inputs[number][0]) not in targets} or content or set(inputs)
    return tuple((number, dim) for number, (_, dim) in inputs.items() if number in chosen)


def _is_content(tensor: Tensor) -> bool:
    """Whether it looks like data rather than like a mask (zeros and ones) or lengths (one integer an example)."""
    if tensor.ndim == 1 and not tensor.is_floating_point():
        return False
    return not bool(((tensor == 0) | (tensor == 1)).all())


@torch.no_grad()
def _edit(tensor: Tensor, dim: int, example: int) -> None:
    row = tensor.select(dim, example)
    if tensor.is_floating_point() or tensor.is_complex():
        row.copy_(other_values(row))
    else:
        row.copy_(other_tokens(tensor.movedim(dim, 0), row))


def other_values(row: Tensor) -> Tensor:
    """Smaller by a random factor: zeros stay padding, signs and bounds are kept; a row of zeros becomes noise."""
    if not row.any():
        return torch.rand_like(row)
    return row * (0.25 + 0.5 * torch.rand_like(row))


def other_tokens(tokens: Tensor, row: Tensor) -> Tensor:
    """Exchange the values of a row among those that the batch (example, ...) has; padding and special tokens stay."""
    values = _ordinary_values(tokens)
    if len(values) < 2:
        return row
    index = torch.searchsorted(values, row.contiguous()).clamp(max=len(values) - 1)
    shift = int(torch.randint(1, len(values), ()))
    return torch.where(values[index] == row, values[(index + shift) % len(values)], row)


def _ordinary_values(tokens: Tensor) -> Tensor:
    """Sorted values, without those that are padding (zero, negative, repeated at the end) or in every example."""
    every = _distinct(tokens)
    values = every[every > 0]
    if tokens.ndim > 1 and tokens.shape[-1] > 1:
        ends = tokens[..., -1][tokens[..., -1] == tokens[..., -2]]
        values = _without(values, _distinct(ends))
        rows, counts = torch.cat([_distinct(row) for row in tokens]).unique(return_counts=True)  # type: ignore[no-untyped-call]
        values = _without(values, rows[counts == len(tokens)])
    return values if len(values) > 1 else every


def _distinct(tokens: Tensor) -> Tensor:
    values: Tensor = tokens.unique()  # type: ignore[no-untyped-call]
    return values


def _without(values: Tensor, unwanted: Tensor) -> Tensor:
    """The values without the unwanted ones, unless fewer than two would be left."""
    rest = values[~torch.isin(values, unwanted)]
    return rest if len(rest) > 1 else values


# ------------------------------------------------------------------------------------------------- no examples


def why_no_examples(split: Split, size: int) -> str | None:
    """Why the rows of a batch are no examples that could be told apart; None if they are."""
    inputs = dict(leaves((split.args, split.kwargs)))
    names = [name.rpartition(".")[2] for name in inputs]
    if any(name.startswith(("edge", "adj")) for name in names) or any(_joins_rows(name, inputs) for name in inputs):
        return "the rows of the batch are the nodes of a graph, which are made to influence each other"
    counted = [size in tensor.shape[:2] for tensor in tensors(split.targets) if tensor.ndim]
    if any(map(_is_list_of_tensors, (*split.args, *split.kwargs.values()))) and not (counted and all(counted)):
        return "the batch is a list of examples, so no dimension counts them"
    return None


def _joins_rows(name: str, inputs: dict[str, Tensor]) -> bool:
    """Whether an input names pairs of the rows of the others: (2, pairs) integers, or (rows, rows) weights."""
    tensor = inputs[name]
    rows = {other.shape[0] for key, other in inputs.items() if key != name and other.ndim > 1}
    if tensor.layout is not torch.strided:
        return True
    if tensor.ndim != 2 or not rows or tensor.dtype is torch.bool:
        return False
    if tensor.is_floating_point():
        return {*tensor.shape} == rows and bool((tensor >= 0).all())
    return tensor.shape[0] == 2 and 2 not in rows


def _is_list_of_tensors(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(part, Tensor) for _, part in children(value) or [])
