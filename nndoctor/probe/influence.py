"""Influence: the matrix of how much each output depends on each example, by editing examples and by gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nndoctor.probe.batch import tensors
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call, Examples
from nndoctor.probe.ownership import Layout, layouts
from nndoctor.probe.recording import eager
from nndoctor.probe.subject import Subject

# An output that hardly depends on its own example is compared with the largest effect that the example has.
FAINT = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """`matrix[i, k]` is the effect of example `changed[k]` on output i, in units of its effect on its own output."""

    matrix: Tensor  # (examples, changed examples)
    changed: tuple[int, ...]
    output: int  # the number of the returned tensor in which it is worst

    @property
    def off_diagonals(self) -> Tensor:
        """The matrix with zeros where an example meets its own output."""
        own = torch.arange(len(self.matrix))[:, None] == torch.tensor(self.changed)
        return self.matrix.masked_fill(own, 0.0)

    @property
    def off_diagonal(self) -> float:
        """The largest effect of an example on the output of another."""
        return float(self.off_diagonals.max())


def run(subject: Subject, call: Call) -> list[Tensor]:
    """The floating-point tensors that the model returns."""
    args, kwargs = call
    with subject.precision():
        returned = subject.model(*args, **kwargs)
    return [tensor for tensor in tensors(returned) if tensor.is_floating_point()]


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What one change did to one output: the norm of the difference at each index of a dimension, or of two."""

    along: dict[int, Tensor]  # for each dimension that may hold the examples: (size,)
    tables: dict[tuple[int, int], Tensor]  # for each two dimensions of the size of the batch: (count, count)

    @property
    def norm(self) -> float:
        """Of the whole difference."""
        return float(next(iter(self.along.values())).norm())


@torch.no_grad()
def effects(before: Sequence[Tensor], after: Sequence[Tensor], count: int) -> list[Effect | None]:
    """The effect on each output, None for one that holds no examples or has another shape now."""
    if len(before) != len(after):
        return [None] * len(before)
    return [_effect(one, other, count) for one, other in zip(before, after, strict=True)]


def _effect(before: Tensor, after: Tensor, count: int) -> Effect | None:
    dims = sorted({layout.dim for layout in layouts(before.shape, count)})
    if not dims or before.shape != after.shape:
        return None
    change = after - before
    if not _norms(change).isfinite():  # between NaN or infinity and the same there is no change
        same = (before == after) | (before.isnan() & after.isnan())
        change = change.masked_fill(same, 0.0).nan_to_num(nan=1.0)
    pairs = itertools.combinations([dim for dim in dims if before.shape[dim] == count], 2)
    return Effect({dim: _norms(change, dim) for dim in dims}, {pair: _norms(change, *pair) for pair in pairs})


def _norms(values: Tensor, *kept: int) -> Tensor:
    """The norm over all dimensions but those that are kept, in double precision."""
    rest = [dim for dim in range(values.ndim) if dim not in kept]
    values = values.float() if values.element_size() < 4 else values
    return (torch.linalg.vector_norm(values, dim=rest) if rest else values.abs()).double().cpu()


def influence(shapes: Sequence[tuple[int, ...]], edits: Mapping[int, Sequence[Effect | None]], count: int) -> Influence:
    """What outputs of these shapes do when one example of a batch of `count` is changed, for each that was.

    Raises NotApplicableError if no output has a dimension that counts the examples.
    """
    found: list[Influence] = []
    pairs = False
    for number, readings in _readings(shapes, count).items():
        by_example = {example: one for example, every in edits.items() if (one := every[number])}
        if len(by_example) < len(edits):
            continue  # padded to the longest example, or the like
        if any(_compares_pairs(by_example, pair) for pair in next(iter(by_example.values())).tables):
            pairs = True
            continue
        matrices = [_relative(_matrix(by_example, layout, count), [*edits]) for layout in readings]
        found.append(min((Influence(matrix, (*edits,), number) for matrix in matrices), key=_off_diagonal))
    if not found:
        by_design = "the output is a table of all pairs of examples, which is made to mix them"
        none = "no output of the model has a dimension that counts the examples"
        raise NotApplicableError(by_design if pairs else none)
    return max(found, key=_off_diagonal)


def _off_diagonal(influence: Influence) -> float:
    return influence.off_diagonal


def _readings(shapes: Sequence[tuple[int, ...]], count: int) -> dict[int, list[Layout]]:
    """Where each output may hold the examples; merged dimensions count only if no output has a batch dimension."""
    every = {number: list(layouts(shape, count)) for number, shape in enumerate(shapes)}
    plain = {number: [layout for layout in readings if layout.is_plain] for number, readings in every.items()}
    chosen = plain if any(plain.values()) else every
    return {number: readings for number, readings in chosen.items() if readings}


def _matrix(by_example: Mapping[int, Effect], layout: Layout, count: int) -> Tensor:
    """(count, columns): the norm of the change in the output of each example, for each example that was changed."""
    columns = [_by_example(effect.along[layout.dim], layout, count) for effect in by_example.values()]
    return torch.stack(columns, dim=1)


def _by_example(norms: Tensor, layout: Layout, count: int) -> Tensor:
    """(count,): the norms at the indices of a dimension, taken together for each example."""
    of_example = layout.example(torch.arange(len(norms)), count)
    return norms.new_zeros(count).index_add(0, of_example, norms.square()).sqrt()


def _relative(matrix: Tensor, changed: list[int]) -> Tensor:
    """Each column in units of the effect on the example's own output."""
    largest = matrix.max(dim=0).values
    own = matrix[changed, range(len(changed))]
    return matrix / torch.where(own > FAINT * largest, own, largest).clamp(min=torch.finfo(matrix.dtype).tiny)


def _compares_pairs(by_example: Mapping[int, Effect], pair: tuple[int, int]) -> bool:
    """Whether the output is a table of pairs of examples, as in contrastive learning: that is made to mix.

    Then an example touches its row and its column of the table, and nothing else.
    """
    rows, columns, rest = 0.0, 0.0, 0.0
    for example, effect in by_example.items():
        outside = effect.tables[pair].clone()
        outside[example, example] = 0
        rows += float(outside[example].sum())
        columns += float(outside[:, example].sum())
        outside[example] = outside[:, example] = 0
        rest += float(outside.sum())
    return rows > 0 and columns > 0 and rest == 0


# ------------------------------------------------------------------------------------------------- gradients


def gradient_influence(subject: Subject, examples: Examples, output: int, rows: Sequence[int]) -> float | None:
    """The largest off-diagonal gradient of some rows of one output, in units of the diagonal of its column.

    With respect to inputs or their embeddings; None where nothing has a gradient.
    """
    call, leaves = examples.with_leaves()
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no backward of RNNs in eval
            with eager(), _EmbeddingTap(examples.count, leaves):
                outputs = run(subject, call)
            readings = _readings([tuple(tensor.shape) for tensor in outputs], examples.count)[output]
            if not leaves:
                return None
            return min(_off_gradient(outputs[output], layout, leaves, examples.count, rows) for layout in readings)
    except RuntimeError:  # an operation without a derivative
        return None


class _EmbeddingTap(TorchFunctionMode):
    """Makes what an embedding returns for the examples a leaf with a gradient, for inputs that are token ids."""

    def __init__(self, count: int, leaves: list[tuple[Tensor, int]]) -> None:
        super().__init__()
        self.count = count
        self.leaves = leaves

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in (F.embedding, F.embedding_bag) or not args or self.count not in args[0].shape[:2]:
            return result
        dim = args[0].shape[:2].index(self.count)
        if result.shape[dim] != self.count:
            return result
        leaf = result.detach().requires_grad_()
        self.leaves.append((leaf, dim))
        return leaf.clone()


def _off_gradient(
    output: Tensor, layout: Layout, leaves: Sequence[tuple[Tensor, int]], count: int, rows: Sequence[int]
) -> float:
    """The largest gradient of an output in `rows` with respect to another example, in units of that to its own.

    Of a random projection of the outputs, because their sum is constant behind a softmax.
    """
    values = (output * torch.randn_like(output)).movedim(layout.dim, 0)
    projected = values.reshape(len(values), -1).sum(dim=1)
    of_example = layout.example(torch.arange(len(projected), device=projected.device), count)
    inputs = [leaf for leaf, _ in leaves]
    worst = 0.0
    for row in rows:
        surrogate = projected[of_example == row].sum()
        gradients = torch.autograd.grad(surrogate, inputs, retain_graph=True, materialize_grads=True, allow_unused=True)
        norms = [_norms(gradient, dim) for gradient, (_, dim) in zip(gradients, leaves, strict=True)]
        by_example = torch.stack(norms).square().sum(dim=0).sqrt()
        own = float(by_example[row])
        by_example[row] = 0
        other = float(by_example.max())
        worst = max(worst, other / own if own > FAINT * other else float(other > 0))
    return worst
