"""Fits the model to a few fixed examples with a recipe of the doctor's own, robust rather than fast."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nndoctor.probe.batch import Batch, clone, take, tensors, versions
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.subject import Subject

# The loss is read back this often: reading at each step would make a GPU wait.
READ_EVERY = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss before each step of one fit; what was not finite ends it."""

    losses: tuple[float, ...]
    rate: float

    @property
    def final(self) -> float:
        """The last loss, NaN if the fit blew up."""
        return self.losses[-1]

    @property
    def best(self) -> float:
        """The lowest loss."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.nan)

    @property
    def broken_at(self) -> int | None:
        """The step whose loss was not finite."""
        return next((step for step, loss in enumerate(self.losses) if not math.isfinite(loss)), None)


def small_batches(subject: Subject, count: int) -> Iterator[tuple[Batch, int]]:
    """At most `count` examples of the first batch, with as many different labels as they can have; and their number.

    Several readings where it is not clear which dimension counts the examples; the whole batch comes last, for a
    model that only takes whole batches.
    """
    batch = subject.batches.first(1)[0]
    sizes = likely_sizes(batch, subject.batches.size) or [1]
    for size in sizes:
        if size <= count:
            break
        yield take(batch, _varied_rows(subject, batch, size, count), size), count
    yield batch, sizes[0]


def _varied_rows(subject: Subject, batch: Batch, size: int, count: int) -> list[int]:
    """The first example of each label, then the others in their order."""
    labels = next((t for t in tensors(subject.split(batch).targets) if t.shape[:1] == (size,)), None)
    if labels is None or labels.numel() != size:
        return list(range(count))
    seen: dict[float, int] = {}
    for row, label in enumerate(labels.flatten().tolist()):
        seen.setdefault(label, row)
    rows = dict.fromkeys([*seen.values(), *range(size)])
    return sorted(list(rows)[:count])


def calm(model: nn.Module) -> None:
    """Train mode without dropout; whatever else is random is repeated in each step by `descend`.

    Eval mode would be simpler, but models return other things in it, and batch norm has no statistics yet.
    """
    model.train()
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):  # recurrent and attention layers
            setattr(module, "dropout", 0.0)  # noqa: B010  (typed as a tensor or module)
        if any(name in type(module).__name__ for name in ("Drop", "Stochastic")) and not list(module.parameters()):
            module.eval()


def descend(
    subject: Subject,
    batches: Iterator[Batch],
    optimizer: Optimizer,
    *,
    until: Callable[[list[float]], bool] = lambda losses: False,
    before_step: Callable[[], Any] = lambda: None,
    deadline: float = math.inf,
) -> list[float]:
    """One step a batch, and the loss before each; ends once `until` holds, a loss is not finite, or time is up."""
    losses: list[float] = []
    unread: list[Tensor] = []
    for batch in batches:
        before_step()
        loss, _ = subject.compute_loss(subject.model, batch)
        if not loss.requires_grad:
            raise NotApplicableError("the loss has no gradient, so nothing can be trained")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        unread.append(loss.detach())
        if len(unread) == READ_EVERY:
            losses += _read(unread)
            if not math.isfinite(losses[-1]) or until(losses):
                break
        if time.monotonic() > deadline:
            break
    losses += _read(unread)
    broken = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    return losses[: broken + 1]


def _read(unread: list[Tensor]) -> list[float]:
    values: list[float] = torch.stack(unread).float().tolist() if unread else []
    unread.clear()
    return values


def repeated(batch: Batch, steps: int) -> Iterator[Batch]:
    """The same batch in every step, also for a model that changes it in place; copied only then."""
    original = clone(batch)
    untouched = versions(batch)
    for _ in range(steps):
        if versions(batch) != untouched:
            batch = clone(original)
            untouched = versions(batch)
        yield batch


def freeze_chance(device: torch.device) -> Callable[[], None]:
    """A function that sets torch's and Python's random state back to now: every step then draws the same numbers."""
    python, cpu = random.getstate(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def again() -> None:
        random.setstate(python)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)

    return again


def adam(model: nn.Module, rate: float) -> Optimizer:
    """Adam over what the user trains; its step hardly depends on the scale of loss and gradient."""
    return torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=rate)
