"""Remembers mutable objects (modules, tensors, containers, generators) and puts them back in place, bit by bit."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Undo = Callable[[], object]
"""Puts one thing back as it was when it was remembered."""

# A container longer than this is data, not the state of a model; it is kept by reference.
LARGEST_CONTAINER = 10_000
# Objects of these packages hold caches, locks and compiled code that are none of our business.
FOREIGN_PACKAGES = frozenset({"torch", "numpy", "transformers"}) | sys.stdlib_module_names


def remember(*roots: Any) -> Undo:
    """Remember everything mutable that is reachable from the roots; each object is restored in place.

    Copies of tensors lie in main memory, whatever the device, so that a model that fills the device still fits.
    """
    seen: dict[int, Any] = {}  # holds the objects, so that no identity is used twice
    undo: list[Undo] = []
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (int, float, str, bytes, type(None), type)):
            continue
        seen[id(value)] = value
        undo.extend(_undo(value, seen))
        waiting.extend(_parts(value))
    return partial(run_all, undo)


def run_all(undo: Sequence[Undo]) -> None:
    """Run every undo."""
    for restore in undo:
        restore()


def _parts(value: Any) -> list[Any]:
    match value:
        case Tensor() if hasattr(value, "_local_tensor"):  # a DTensor; what this rank holds of it is a tensor in itself
            return [value.grad, value._local_tensor] if value.is_leaf else []
        case Tensor():
            return [value.grad, *vars(value).values()] if value.is_leaf else []
        case nn.Module():
            return [*vars(value).values(), *value.parameters(recurse=False), *value.buffers(recurse=False)]
        case dict():
            return list(value.values())
        case list() | tuple() | set() | deque():
            return list(value) if len(value) <= LARGEST_CONTAINER else []
    return list(vars(value).values()) if _has_own_state(value) else []


def _undo(value: Any, seen: dict[int, Any]) -> Iterator[Undo]:
    """What restores this one object; the objects it refers to restore themselves."""
    match value:
        case Tensor() if hasattr(value, "_local_tensor"):
            yield _undo_gradient(value)
        case Tensor():
            yield from _undo_tensor(value, seen)
        case dict() | set() if len(value) <= LARGEST_CONTAINER:  # most of what a module holds, so asked early
            yield _refill(value, value.copy(), value.update)
        case list() | deque() if len(value) <= LARGEST_CONTAINER:
            yield _refill(value, list(value), value.extend)
        case torch.Generator():
            state = value.get_state()
            yield partial(value.set_state, state)
        case random.Random():
            yield partial(value.setstate, value.getstate())
        case _ if type(value).__module__.startswith("numpy.random") and hasattr(value, "bit_generator"):
            yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        case _ if type(value).__module__.startswith("numpy.random") and hasattr(value, "set_state"):
            yield partial(value.set_state, value.get_state())
        case _ if isinstance(value, nn.Module) or _has_own_state(value):
            if hasattr(type(value), "set_reshard_after_forward"):  # of FSDP2: back to the shards, which are remembered
                yield value.reshard
            attributes = vars(value)
            yield _refill(attributes, attributes.copy(), attributes.update)
        case _ if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray":
            saved = value.copy()
            yield partial(value.__setitem__, ..., saved)


def _refill(container: Any, saved: Any, add: Callable[[Any], None]) -> Undo:
    def undo() -> None:
        container.clear()
        add(saved)

    return undo


def _has_own_state(value: Any) -> bool:
    """Whether it is an instance of a class that the user wrote."""
    package = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not callable(value) and package not in FOREIGN_PACKAGES


def _undo_tensor(tensor: Tensor, seen: dict[int, Any]) -> Iterator[Undo]:
    if tensor.layout is torch.strided and not tensor.is_meta:
        yield from _undo_storage(tensor.untyped_storage(), seen)
        yield _undo_data(tensor)
    if tensor.is_leaf:
        yield _undo_gradient(tensor)


def _undo_storage(storage: torch.UntypedStorage, seen: dict[int, Any]) -> Iterator[Undo]:
    """Bytes rather than values: covers tied, flattened and expanded tensors once, and every NaN as it is."""
    if storage._cdata in seen:
        return
    seen[storage._cdata] = storage
    saved = torch.UntypedStorage(storage.nbytes())  # type: ignore[no-untyped-call]
    saved.copy_(storage, False)
    yield partial(storage.copy_, saved, False)


def _undo_data(tensor: Tensor) -> Undo:
    data = tensor.data

    def undo() -> None:
        now = tensor.data
        if now.data_ptr() != data.data_ptr() or now.shape != data.shape or now.dtype != data.dtype:
            tensor.data = data

    return undo


def _undo_gradient(tensor: Tensor) -> Undo:
    requires_grad, grad = tensor.requires_grad, tensor.grad

    def undo() -> None:
        tensor.requires_grad_(requires_grad)
        tensor.grad = grad

    return undo
