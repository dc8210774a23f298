"""What the layers of an untrained model pass on: size, variation, dead and saturated units, and the gradient."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nndoctor.findings import Location
from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import calm
from nndoctor.probe.recording import calling_line, eager, module_paths, short_name
from nndoctor.probe.subject import Subject

LAYERS = frozenset(
    {
        *("linear", "bilinear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    }
)
RECTIFIERS = frozenset({"relu", "relu_", "relu6"})
NORMS = frozenset({"layer_norm", "batch_norm", "instance_norm", "group_norm", "softmax", "log_softmax", "rms_norm"})
# The derivative of a saturated unit by the largest one: a sigmoid beyond 0.001 and 0.999, a tanh beyond 0.998.
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda output: 4 * output * (1 - output),
    "sigmoid_": lambda output: 4 * output * (1 - output),
    "tanh": lambda output: 1 - output.square(),
    "tanh_": lambda output: 1 - output.square(),
    "rnn_tanh": lambda output: 1 - output.square(),
}
SATURATED_SLOPE = 0.004
# Rounding in sums of another order leaves 1e-7 of a value; outputs that differ less between examples are the same.
SAME = 1e-5


@dataclass(slots=True)
class Reading:
    """One operation of the forward, over all its calls; sizes are root mean squares."""

    name: str
    module: str
    location: Location | None
    input_size: float = 0.0  # of its first call
    first_size: float = 0.0  # of its first call
    size: float = 0.0  # the largest of its calls
    alive: list[Tensor] = field(default_factory=list)  # by dimension: (units,) whether a unit was ever above zero
    saturated: float = 0.0  # share of the units of a sigmoid or tanh, on average over calls
    calls: int = 0
    varies: bool = False  # its output differs between examples
    input_varies: bool = False
    is_zero: bool = True  # all outputs are zero, as those of a layer that starts at zero
    gradient: float | None = None  # norm, the largest of its calls; None where it has none

    @property
    def dead(self) -> float:
        """The share of units that were zero for every example, whichever dimension counts the units."""
        return min((1 - float(units.float().mean()) for units in self.alive), default=0.0)

    @property
    def units(self) -> int:
        """How many units a rectifier has, whichever dimension counts them."""
        return min((units.numel() for units in self.alive), default=0)

    @property
    def growth(self) -> float:
        """By how much a call, or the calls of a loop over time, enlarge what they are given."""
        return max(_ratio(self.size, self.input_size), _ratio(self.size, self.first_size))

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return self.name in LAYERS


def _ratio(size: float, start: float) -> float:
    return size / start if start else 0.0


def watch(subject: Subject, batches: list[Batch]) -> list[Reading]:
    """Forward and backward over the batches, without dropout; keep it in a sandbox."""
    calm(subject.model)
    watcher = _Watcher()
    for batch in batches:
        subject.model.zero_grad(set_to_none=True)
        with eager(), module_paths(subject.model, watcher.modules), watcher:
            loss = _run(subject, batch)
        if loss.requires_grad and bool(loss.isfinite()):
            loss.backward()  # type: ignore[no-untyped-call]
    return list(watcher.readings.values())


def _run(subject: Subject, batch: Batch) -> Tensor:
    """The loss, or without one a number that depends on all outputs."""
    if subject.objective is not None:
        return subject.compute_loss(subject.model, batch)[0]
    outputs = [output for output in tensors(subject.forward(subject.model, batch)) if output.is_floating_point()]
    if not outputs:
        raise NotApplicableError("the model returns no floating-point tensor")
    return torch.stack([output.square().mean() for output in outputs]).sum()


class _Watcher(TorchFunctionMode):
    """Takes readings of layers, activations and norms, whether modules or functions call them."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: dict[tuple[str, str, Location | None], Reading] = {}
        self.modules: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = short_name(func)
        watched = name in LAYERS or name in RECTIFIERS or name in NORMS or name in SLOPES
        first = next(iter(tensors(args)), None) if watched else None
        if first is None or not first.is_floating_point():
            return func(*args, **(kwargs or {}))
        varied, size = _varies(first), _size(first)  # before the operation, which may work in place
        result = func(*args, **(kwargs or {}))
        self._note(name, [made for made in tensors(result) if made.is_floating_point()], varied, size)
        return result

    def _note(self, name: str, outputs: list[Tensor], input_varies: bool, input_size: float) -> None:
        module = self.modules[-1] if self.modules else ""
        place = calling_line(sys._getframe(2), watch)
        reading = self.readings.setdefault((name, module, place), Reading(name, module, place, input_size))
        for output in outputs:
            if output.requires_grad and reading.is_layer:
                output.register_hook(lambda gradient: _keep_gradient(reading, gradient))  # type: ignore[no-untyped-call]
        with torch.no_grad():
            _read(reading, outputs[0].detach(), input_varies)


def _keep_gradient(reading: Reading, gradient: Tensor) -> None:
    reading.gradient = max(reading.gradient or 0.0, float(gradient.float().norm()))


def _size(values: Tensor) -> float:
    """Root mean square."""
    return float(values.detach().float().square().mean().sqrt())


def _read(reading: Reading, output: Tensor, input_varies: bool) -> None:
    values = output.float()
    size = _size(values)
    reading.size = max(reading.size, size)
    reading.first_size = reading.first_size or size
    reading.varies |= _varies(values)
    reading.input_varies |= input_varies
    reading.is_zero &= not bool(values.any())
    if reading.name in RECTIFIERS:
        _merge(reading, [_ever_positive(values, dim) for dim in _unit_dims(values.ndim)])
    if slope := SLOPES.get(reading.name):
        share = float((slope(values) < SATURATED_SLOPE).float().mean())
        reading.saturated += (share - reading.saturated) / (reading.calls + 1)
    reading.calls += 1


def _unit_dims(ndim: int) -> tuple[int, ...]:
    """The dimensions that may count units: channels of pictures; of sequences, channels or features."""
    return {0: (), 1: (0,), 3: (1, 2)}.get(ndim, (1,))


def _ever_positive(values: Tensor, dim: int) -> Tensor:
    return (values.movedim(dim, 0).flatten(1) > 0).any(dim=1)


def _merge(reading: Reading, alive: list[Tensor]) -> None:
    """Units of calls with other shapes, as a second resolution, are kept apart from the first's and not counted."""
    if not reading.alive:
        reading.alive = alive
    elif [units.shape for units in alive] == [units.shape for units in reading.alive]:
        reading.alive = [one | other for one, other in zip(reading.alive, alive, strict=True)]


def _varies(values: Tensor) -> bool:
    """Whether the first dimension makes a difference; what has no examples to compare counts as varying."""
    if not values.is_floating_point() or values.ndim < 2 or values.shape[0] < 2:
        return True
    values = values.detach()
    spread = (values - values[:1]).abs().max()
    return bool(spread > SAME * values.abs().max()) or not bool(values.isfinite().all())
