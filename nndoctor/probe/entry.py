"""Entry: the values that the first layer with weights is given, after all that the model does to its inputs itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.fitting import calm
from nndoctor.probe.subject import Subject

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase)
PIXEL = 255
# Dark pictures stay below; small counts and categories too.
BRIGHT = 64
# A picture has many different values, a one-hot or a category few.
FEWEST_VALUES = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """What the first layer with weights is given in one batch."""

    layer: str  # its dotted name
    low: float
    high: float
    mean: float
    deviation: float
    level: float  # the multiple of which all values are, if that is 1 or a pixel's share of 1; else 0
    distinct: int
    from_floats: bool  # nothing has touched the values of a floating-point input before
    is_normalised_next: bool  # a norm follows, which takes any scale away

    @property
    def size(self) -> float:
        """The root of the mean square."""
        return math.hypot(self.mean, self.deviation)

    @property
    def is_raw_pixels(self) -> bool:
        """Whole numbers from 0 to 255."""
        return self.level == 1 and self.low >= 0 and BRIGHT <= self.high <= PIXEL and self.distinct >= FEWEST_VALUES

    @property
    def is_scaled_twice(self) -> bool:
        """Pixels divided by 255 and by 255 again."""
        return 0 < self.level < 1 and 0 <= self.low < self.high <= 1.001 / PIXEL and self.distinct >= FEWEST_VALUES


def read_entry(subject: Subject, batch: Batch) -> Entry | None:
    """None where no layer is given floating-point numbers. Runs the model; the caller keeps it in a sandbox."""
    calm(subject.model)
    events: list[tuple[str, nn.Module, Tensor | None]] = []

    def note(name: str, module: nn.Module, args: tuple[object, ...]) -> None:
        floats = [tensor for tensor in tensors(args) if tensor.is_floating_point() and tensor.numel()]
        events.append((name, module, floats[0].detach().clone() if floats and not _first(events) else None))

    hooks = [
        module.register_forward_pre_hook(lambda module, args, name=name: note(name, module, args))
        for name, module in subject.model.named_modules()
        if isinstance(module, WEIGHTED) or _is_norm(module)
    ]
    try:
        with torch.no_grad():
            subject.forward(subject.model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    first = _first(events)
    if first is None:
        return None
    name, _, values = events[first - 1]
    assert values is not None, "the first layer with weights is the first that was given values"
    return _entry(name, values, subject, batch, first < len(events) and _is_norm(events[first][1]))


def _first(events: list[tuple[str, nn.Module, Tensor | None]]) -> int | None:
    """The number of the event, from 1, in which a layer with weights was given values."""
    found = (n for n, (_, module, values) in enumerate(events, 1) if values is not None and not _is_norm(module))
    return next(found, None)


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not any(module.children())


def _entry(name: str, values: Tensor, subject: Subject, batch: Batch, is_normalised_next: bool) -> Entry:
    values = values.double()
    low, high = float(values.min()), float(values.max())
    split = subject.split(batch)
    floats = [given for given in tensors((split.args, split.kwargs)) if given.is_floating_point() and given.numel()]
    level = next((level for level in (1.0, 1 / PIXEL**2) if _are_multiples(values, level)), 0.0)
    return Entry(
        layer=name or type(subject.model).__name__,
        low=low,
        high=high,
        mean=float(values.mean()),
        deviation=float(values.std(correction=0)),
        level=level,
        distinct=len(values.unique()) if level else 0,  # type: ignore[no-untyped-call]
        from_floats=any((float(given.min()), float(given.max())) == (low, high) for given in floats),
        is_normalised_next=is_normalised_next,
    )


def _are_multiples(values: Tensor, level: float) -> bool:
    scaled = values / level
    whole = scaled.round()
    return bool(((scaled - whole).abs() < 1e-2).all()) and bool(whole.any())
