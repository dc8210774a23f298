"""The structure of a batch: any nesting of tuples, lists, mappings, dataclasses and named tuples around tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Batch = Any
"""Whatever the loader yields."""


def children(batch: Batch) -> list[tuple[str, Any]] | None:
    """The named parts of a container, or None for a leaf (a tensor, a string, a number, a foreign object)."""
    match batch:
        case Tensor():
            return None
        case PackedSequence():
            return [("data", batch.data)]
        case tuple() if hasattr(batch, "_fields"):
            return list(zip(batch._fields, batch, strict=True))
        case Mapping():
            return [(str(key), value) for key, value in batch.items()]
        case tuple() | list():
            return [(str(index), value) for index, value in enumerate(batch)]
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [(field.name, getattr(batch, field.name)) for field in dataclasses.fields(batch)]
    return None


def rebuild(batch: Batch, parts: list[Any]) -> Batch:
    """The same container around other parts, given in the order of `children`."""
    match batch:
        case PackedSequence():
            return batch._replace(data=parts[0])
        case tuple() if hasattr(batch, "_make"):
            return batch._make(parts)
        case Mapping():
            return _rebuild_mapping(batch, parts)
        case tuple():
            return tuple(parts)
        case list():
            return list(parts)
    twin = copy.copy(batch)
    for field, part in zip(dataclasses.fields(batch), parts, strict=True):
        object.__setattr__(twin, field.name, part)
    return twin


def _rebuild_mapping(batch: Mapping[Any, Any], parts: list[Any]) -> Mapping[Any, Any]:
    twin: Any = copy.copy(batch) if hasattr(batch, "__setitem__") else dict(batch)
    for key, part in zip(list(batch), parts, strict=True):
        twin[key] = part
    return twin  # type: ignore[no-any-return]


def map_leaves(function: Callable[[Any], Any], batch: Batch) -> Batch:
    """A batch of the same structure with `function` applied to each leaf, tensor or not."""
    parts = children(batch)
    if parts is None:
        return function(batch)
    return rebuild(batch, [map_leaves(function, part) for _, part in parts])


def map_tensors(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """A batch of the same structure with `function` applied to each tensor."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, batch)


def leaves(batch: Batch, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Each tensor with its path, for instance `0`, `image` or `1.labels`; the path of a bare tensor is empty."""
    if isinstance(batch, Tensor):
        yield path, batch
    for name, part in children(batch) or []:
        yield from leaves(part, f"{path}.{name}" if path else name)


def tensors(batch: Batch) -> list[Tensor]:
    """Every tensor of the batch, in order."""
    return [tensor for _, tensor in leaves(batch)]


def shapes(batch: Batch) -> str:
    """Types and shapes of all tensors, for a message."""
    described = [f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}" for tensor in tensors(batch)]
    return ", ".join(described) or "none"


def clone(batch: Batch) -> Batch:
    """A copy that shares no memory with the batch."""
    return map_tensors(lambda tensor: tensor.detach().clone(), batch)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with each tensor on `device`."""
    if isinstance(batch, PackedSequence):
        return batch.to(device=device)  # type: ignore[call-arg]
    parts = children(batch)
    if parts is None:
        return batch.to(device) if isinstance(batch, Tensor) else batch
    return rebuild(batch, [to_device(part, device) for _, part in parts])


def versions(batch: Batch) -> tuple[int, ...]:
    """Rises whenever a tensor of the batch is changed in place."""
    return tuple(tensor._version for tensor in tensors(batch))


Rows = slice | list[int]
"""Which examples: a range of them, or their numbers."""


def take(batch: Batch, rows: Rows, size: int) -> Batch:
    """The examples `rows` of a batch of `size`; sequence-first tensors are cut along their second dimension."""

    def cut(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[batch_index(leaf, size, rows)]
        return leaf

    parts = children(batch)
    if isinstance(batch, list) and len(batch) == size and not tensors(batch):
        return batch[rows] if isinstance(rows, slice) else [batch[row] for row in rows]
    if parts is None:
        return cut(batch)
    return rebuild(batch, [take(part, rows, size) for _, part in parts])


def batch_index(tensor: Tensor, size: int, rows: Rows) -> tuple[Rows, ...]:
    """The index that selects `rows` along the dimension of `tensor` that counts a batch of `size`."""
    if tensor.ndim and tensor.shape[0] == size:
        return (rows,)
    if tensor.ndim > 1 and tensor.shape[1] == size:
        return (slice(None), rows)
    return (slice(None),) * tensor.ndim
