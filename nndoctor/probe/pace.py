"""Pace: the seconds of one training step by part, and the memory that it needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer

from nndoctor.probe.batch import Batch, clone, tensors
from nndoctor.probe.fitting import adam
from nndoctor.probe.subject import Subject

WARM_UP, REPEATS = 2, 5  # steps; the first ones allocate and choose kernels


@dataclass(frozen=True, slots=True)
class Times:
    """Medians in seconds."""

    forward: float
    backward: float
    update: float

    @property
    def step(self) -> float:
        """The whole step without waiting for data."""
        return self.forward + self.backward + self.update


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what stays whatever the batch, and what one batch keeps for its backward."""

    lasting: int  # parameters, buffers, gradients and the state of the optimizer
    activations: int


def time_steps(subject: Subject, batch: Batch, deadline: float) -> tuple[Times, Memory]:
    """Train on the batch for a few steps; the caller keeps the subject in a sandbox."""
    subject.model.train()
    optimizer = subject.make_optimizer(subject.model) or adam(subject.model, 0.0)
    measured: list[tuple[float, float, float]] = []
    activations = _saved_bytes(subject, clone(batch))
    while len(measured) < WARM_UP + REPEATS and not (measured and time.monotonic() > deadline):
        measured.append(_timed_step(subject, clone(batch), optimizer))
    settled = measured[WARM_UP:] or measured
    forward, backward, update = (median(parts) for parts in zip(*settled, strict=True))
    return Times(forward, backward, update), Memory(_lasting_bytes(subject, optimizer), activations)


def _timed_step(subject: Subject, batch: Batch, optimizer: Optimizer) -> tuple[float, float, float]:
    clock = _clock(subject.device)
    started = clock()
    loss, _ = subject.compute_loss(subject.model, batch)
    forward = clock()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    backward = clock()
    optimizer.step()
    return forward - started, backward - forward, clock() - backward


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds, once the device has done what it was asked."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def _saved_bytes(subject: Subject, batch: Batch) -> int:
    """What the graph of a forward keeps for its backward, each piece of memory once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in subject.model.parameters()}
    kept: dict[int, tuple[Tensor, int]] = {}  # with the tensor, so that no address is given to another

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage() if tensor.layout is torch.strided else None
        if storage is not None and storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (tensor, storage.nbytes())
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        subject.compute_loss(subject.model, batch)
    return sum(size for _, size in kept.values())


def _lasting_bytes(subject: Subject, optimizer: Optimizer) -> int:
    parameters = [*subject.model.parameters()]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    state = tensors([*optimizer.state.values()])
    return sum(tensor.nbytes for tensor in (*parameters, *subject.model.buffers(), *gradients, *state))


def total_memory(device: torch.device) -> int:
    """Bytes of the device, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
