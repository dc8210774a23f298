"""Replicas: the processes of one training meet here, tell each other what they have, and are compared."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from nndoctor.probe.batch import children, tensors
from nndoctor.probe.batches import as_tensors
from nndoctor.probe.ranks import Rank

# Examples of the data set by which two ranks know that they have the same one, spread over all of it.
SAMPLED = 16
FAILURE = "nndoctor/failure"
POLL_S = 0.2
GRACE_S = 1.0  # a rank that fails by itself, as they often do together, speaks for itself
LINGER_S = 4.0


def join(rank: Rank, device: str, seconds: float) -> None:
    """Enter the process group, which scripts make too; their own call then changes nothing."""
    on_cuda = device.startswith("cuda")
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank.number)))
    backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
    dist.init_process_group = lambda *_, **__: None


def tell_failure(text: str) -> None:
    """Let the ranks know that this one cannot go on, and stay until they do: a lost connection would say less."""
    if not dist.is_initialized():
        return
    _store().compare_set(FAILURE, "", f"rank {dist.get_rank()}: {text}")
    time.sleep(LINGER_S if dist.get_rank() else 0)


def watch(say: Callable[[str], None]) -> None:
    """Once another rank cannot go on, say so and end the process, which may be waiting for it in a collective."""
    store = _store()

    def look() -> None:
        while not store.check([FAILURE]):
            time.sleep(POLL_S)
        time.sleep(GRACE_S)
        say(store.get(FAILURE).decode())
        os._exit(0)

    threading.Thread(target=look, daemon=True).start()


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


def tell_all(value: Any) -> list[Any]:
    """What each rank has, in their order; every rank must call it."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, value)
    return told


# ------------------------------------------------------------------------------------------------- weights


def weights_of(model: nn.Module) -> dict[str, int]:
    """A fingerprint of each parameter that every rank should hold whole and equal; shards are left out."""
    whole = {name: parameter for name, parameter in model.named_parameters() if not is_shard(parameter)}
    return {name: fingerprint(parameter) for name, parameter in whole.items()}


def is_shard(tensor: Tensor) -> bool:
    """Whether it is a DTensor of which each rank holds a part."""
    return any(placement.is_shard() for placement in getattr(tensor, "placements", ()))


def differing(weights: Sequence[dict[str, int]]) -> list[str]:
    """The names of the parameters that are not equal on all ranks."""
    return [name for name in weights[0] if len({of_rank.get(name) for of_rank in weights}) > 1]


# ------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Share:
    """What a rank reads of a data set in an epoch, and its first examples as two readings give them."""

    size: int  # of the data set
    epoch: int  # examples that the rank reads
    first: tuple[int, ...]  # fingerprints of some examples
    second: tuple[int, ...]  # of the same, read again
    stable: tuple[int, ...]  # of what both readings have in common

    @property
    def is_random(self) -> bool:
        """Whether examples come out different each time, as augmented ones do."""
        return self.first != self.second


def read_share(loader: Any) -> Share | None:
    """None for what has no indices, as a stream. Reads some examples twice, as the first worker would."""
    dataset: Any = getattr(loader, "dataset", None)
    if not isinstance(loader, DataLoader) or isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return None
    try:
        size = len(dataset)
        epoch = _indices_in_epoch(loader)
        _begin_as_worker(loader)
        indices = [number * size // SAMPLED for number in range(SAMPLED)]
        first, second = ([_parts(dataset[index]) for index in indices] for _ in range(2))
    except Exception:  # whatever the user's data set raises for an index out of its order
        return None
    stable = [
        hash(tuple(a for a, b in zip(one, other, strict=False) if a == b))
        for one, other in zip(first, second, strict=True)
    ]
    return Share(size, epoch, tuple(map(hash, first)), tuple(map(hash, second)), tuple(stable))


def _indices_in_epoch(loader: DataLoader[Any]) -> int:
    if isinstance(loader.sampler, torch.utils.data.Sampler) and loader.batch_size is not None:
        return len(loader.sampler)  # type: ignore[arg-type]
    batches: Any = loader.batch_sampler
    size = getattr(batches, "batch_size", None) or len(next(iter(batches)))
    return len(batches) * int(size)


def _begin_as_worker(loader: DataLoader[Any]) -> None:
    """Workers take their random numbers from one that the loader draws; without them those of the process go on."""
    if not loader.num_workers:
        return
    seed = int(torch.empty((), dtype=torch.int64).random_(generator=loader.generator).item())
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def _parts(example: Any) -> tuple[int, ...]:
    """A fingerprint of each part of an example."""
    parts = children(example)
    return tuple(fingerprint(part) for _, part in parts) if parts else (fingerprint(example),)


def fingerprint(value: Any) -> int:
    """Equal for equal content, on all ranks: their hashes have one seed."""
    value = as_tensors(value)
    found = tensors(value)
    if found:
        return hash(tuple((str(tensor.dtype), tuple(tensor.shape), _bytes(tensor)) for tensor in found))
    if hasattr(value, "tobytes"):  # a picture of PIL
        return hash(value.tobytes())
    return hash(repr(value)) if isinstance(value, (int, float, str, tuple, list, dict)) else hash(type(value).__name__)


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return plain.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
