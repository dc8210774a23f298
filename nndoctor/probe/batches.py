"""Batches: the first batches of a loader, fetched once, so that every probe may begin again from the first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from nndoctor.probe.batch import Batch, clone, map_leaves, tensors, to_device
from nndoctor.probe.blame import describe_error, raised_at
from nndoctor.probe.errors import SubjectError

# The buffer must leave room for the model; a first batch larger than this is kept all the same.
BUFFER_BYTES = 2**30
# What torch's own collate_fn says of examples of several sizes, and of what is neither tensor nor number.
COMPLAINTS_OF_COLLATE = (
    "should be of equal size",
    "expects each tensor to be equal size",
    "default_collate: batch must",
)


@dataclass(frozen=True, slots=True)
class Batches:
    """A bounded buffer of batches on the device; what is handed out is a copy, so in-place changes stay outside."""

    kept: tuple[Batch, ...]
    exhausted: bool  # the loader ended within the buffer
    size: int | None = None  # the number of examples in a batch, where the loader says it; a last batch may have fewer
    workers: int = 0  # processes that the loader reads with, in turn
    is_loader: bool = False  # a DataLoader, which could read with more of them
    waits: tuple[float, ...] = ()  # seconds until each batch came

    def __len__(self) -> int:
        return len(self.kept)

    def first(self, count: int | None = None) -> list[Batch]:
        """Copies of the first `count` batches, fewer if the loader has fewer."""
        return [clone(batch) for batch in self.kept[:count]]

    def cycle(self, count: int) -> Iterator[Batch]:
        """`count` copies, beginning again after the last one."""
        return (clone(batch) for batch in islice(cycle(self.kept), count))


def fetch(loader: Iterable[Any], limit: int, device: torch.device, seconds: float) -> Batches:
    """Take at most `limit` batches, and no further one once `seconds` or the buffer are spent.

    Works for loaders that are infinite, cannot be restarted or start workers; a loader that hangs is the business
    of the parent process, which ends this one. Raises SubjectError for one that is empty or raises.
    """
    started = time.monotonic()
    kept: list[Batch] = []
    waits: list[float] = []
    size = 0
    exhausted = False
    iterator: Iterator[Any] | None = None
    try:
        iterator = iter(loader)
        while len(kept) < limit and size < BUFFER_BYTES and (not kept or time.monotonic() - started < seconds):
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                exhausted = True
                break
            waits.append(time.perf_counter() - asked)
            kept.append(to_device(as_tensors(batch), device))
            size += sum(tensor.nbytes for tensor in tensors(batch))
    except Exception as error:  # whatever the user's loader or data set raises
        raise SubjectError(_cannot_read(error, len(kept))) from error
    finally:
        _stop_workers(iterator)
    if not kept:
        raise SubjectError("the data gave no batch: the loader is empty or was already used up")
    workers = getattr(loader, "num_workers", 0)
    return Batches(
        tuple(kept),
        exhausted,
        _stated_size(loader),
        workers if type(workers) is int else 0,
        is_loader=isinstance(loader, DataLoader),
        waits=tuple(waits),
    )


def _cannot_read(error: Exception, number: int) -> str:
    text = f"batch {number} of the data cannot be read{raised_at(error)}: {describe_error(error)}"
    if any(complaint in str(error) for complaint in COMPLAINTS_OF_COLLATE):
        return f"{text}; name a DataLoader whose collate_fn makes tensors of such examples, padded to one size"
    return text


def _stated_size(loader: Iterable[Any]) -> int | None:
    """The batch size of a DataLoader; 1 may also be that of a data set whose items are batches themselves."""
    size = getattr(loader, "batch_size", None)
    return size if type(size) is int and size > 1 else None


def as_tensors(batch: Batch) -> Batch:
    """The batch with NumPy arrays turned into tensors; float64 becomes float32, as models expect."""
    return map_leaves(_as_tensor, batch)


def _as_tensor(leaf: Any) -> Any:
    if type(leaf).__module__ != "numpy" or not hasattr(leaf, "dtype") or leaf.dtype.kind not in "biuf":
        return leaf
    tensor = torch.as_tensor(leaf)
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _stop_workers(iterator: Any) -> None:
    stop = getattr(iterator, "_shutdown_workers", None)
    if callable(stop):
        stop()
