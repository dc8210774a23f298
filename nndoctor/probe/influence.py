"""Influence: the matrix of how much each output depends on each example, by editing examples and by gradients."""

from __future__ import annotations

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
    """`matrix[i, j]` is the effect of example j on output i, in units of its effect on its own output."""

    matrix: Tensor  # (examples, examples that were changed)
    output: int  # the number of the returned tensor in which it is worst

    @property
    def off_diagonal(self) -> float:
        """The largest effect of an example on the output of another."""
        return float(without_diagonal(self.matrix).max())


def without_diagonal(matrix: Tensor) -> Tensor:
    """The matrix with zeros on its diagonal."""
    return matrix.masked_fill(torch.eye(*matrix.shape, dtype=torch.bool), 0.0)


def run(subject: Subject, call: Call) -> list[Tensor]:
    """The floating-point tensors that the model returns."""
    args, kwargs = call
    with subject.precision():
        returned = subject.model(*args, **kwargs)
    return [tensor for tensor in tensors(returned) if tensor.is_floating_point()]


@torch.no_grad()
def influence(base: Sequence[Tensor], edited: Mapping[int, Sequence[Tensor]], count: int) -> Influence:
    """Compare the outputs of a batch of `count` with those of the same batch with one example changed.

    Raises NotApplicableError if no output has a dimension that counts the examples.
    """
    found: list[Influence] = []
    pairs = False
    for number, readings in _readings(base, count).items():
        if any(len(after) != len(base) or after[number].shape != base[number].shape for after in edited.values()):
            continue  # padded to the longest example, or the like
        changes = {example: _change(base[number], after[number]) for example, after in edited.items()}
        if _compares_pairs(changes, count):
            pairs = True
            continue
        matrices = [_relative(_matrix(changes, layout, count)) for layout in readings]
        found.append(min((Influence(matrix, number) for matrix in matrices), key=_off_diagonal))
    if not found:
        by_design = "the output is a table of all pairs of examples, which is made to mix them"
        none = "no output of the model has a dimension that counts the examples"
        raise NotApplicableError(by_design if pairs else none)
    return max(found, key=_off_diagonal)


def _off_diagonal(influence: Influence) -> float:
    return influence.off_diagonal


def _readings(outputs: Sequence[Tensor], count: int) -> dict[int, list[Layout]]:
    """Where each output may hold the examples; merged dimensions count only if no output has a batch dimension."""
    every = {number: list(layouts(tensor.shape, count)) for number, tensor in enumerate(outputs)}
    plain = {number: [layout for layout in readings if layout.is_plain] for number, readings in every.items()}
    chosen = plain if any(plain.values()) else every
    return {number: readings for number, readings in chosen.items() if readings}


def _change(before: Tensor, after: Tensor) -> Tensor:
    """The absolute difference; between NaN or infinity and the same there is none."""
    same = (before == after) | (before.isnan() & after.isnan())
    return (before - after).float().abs().masked_fill(same, 0.0).nan_to_num(nan=1.0)


def _matrix(changes: Mapping[int, Tensor], layout: Layout, count: int) -> Tensor:
    """(count, columns): the norm of the change in the output of each example, for each example that was changed."""
    columns = []
    for change in changes.values():
        energy = _energies(change, layout.dim)
        of_example = layout.example(torch.arange(len(energy)), count)
        columns.append(energy.new_zeros(count).index_add(0, of_example, energy).sqrt())
    return torch.stack(columns, dim=1)


def _relative(matrix: Tensor) -> Tensor:
    """Each column in units of its diagonal."""
    largest = matrix.max(dim=0).values
    own = matrix.diagonal()
    return matrix / torch.where(own > FAINT * largest, own, largest).clamp(min=torch.finfo(matrix.dtype).tiny)


def _compares_pairs(changes: Mapping[int, Tensor], count: int) -> bool:
    """Whether the output is a table of pairs of examples, as in contrastive learning: that is made to mix.

    Then an example touches its row and its column of the table, and nothing else.
    """
    dims = [dim for dim, size in enumerate(next(iter(changes.values())).shape) if size == count]
    return any(
        all(not _outside(change, (one, other), example).any() for example, change in changes.items())
        and any(_outside(change, (one,), example).any() for example, change in changes.items())
        and any(_outside(change, (other,), example).any() for example, change in changes.items())
        for position, one in enumerate(dims)
        for other in dims[position + 1 :]
    )


def _outside(change: Tensor, dims: Sequence[int], example: int) -> Tensor:
    """The change with index `example` along each of the dimensions blanked out."""
    rest = change.clone()
    for dim in dims:
        rest.select(dim, example).zero_()
    return rest


# ------------------------------------------------------------------------------------------------- gradients


def gradient_influence(subject: Subject, examples: Examples, output: int, rows: int) -> Influence | None:
    """The same matrix (rows, rows) from the gradients of one output, with respect to inputs or their embeddings.

    None where nothing has a gradient.
    """
    count = examples.count
    call, leaves = examples.with_leaves()
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no backward of RNNs in eval
            with eager(), _EmbeddingTap(count, leaves):
                outputs = run(subject, call)
            matrices = [
                _gradient_matrix(outputs[output], layout, leaves, count, rows)
                for layout in _readings(outputs, count)[output]
                if leaves
            ]
    except RuntimeError:  # an operation without a derivative
        return None
    return min((Influence(matrix, output) for matrix in matrices), key=_off_diagonal, default=None)


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
        leaf = result.detach().requires_grad_()
        self.leaves.append((leaf, dim))
        return leaf.clone()


def _gradient_matrix(
    output: Tensor, layout: Layout, leaves: Sequence[tuple[Tensor, int]], count: int, rows: int
) -> Tensor:
    """(rows, rows): the norm of the gradient of output i with respect to example j, in units of the diagonal.

    Of a random projection of the outputs, because their sum is constant behind a softmax.
    """
    projected = (output * torch.randn_like(output)).movedim(layout.dim, 0).flatten(1).sum(dim=1)
    of_example = layout.example(torch.arange(len(projected), device=projected.device), count)
    inputs = [leaf for leaf, _ in leaves]
    norms = []
    for example in range(rows):
        surrogate = projected[of_example == example].sum()
        gradients = torch.autograd.grad(surrogate, inputs, retain_graph=True, materialize_grads=True, allow_unused=True)
        energies = [_energies(gradient, dim) for gradient, (_, dim) in zip(gradients, leaves, strict=True)]
        norms.append(torch.stack(energies).sum(dim=0).sqrt()[:rows])
    return _relative(torch.stack(norms))


def _energies(values: Tensor, dim: int) -> Tensor:
    """The sum of squares at each index along one dimension."""
    return values.double().square().movedim(dim, 0).flatten(1).sum(dim=1).cpu()
