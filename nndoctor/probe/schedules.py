"""SCHEDULER as the user named it, or as it came beside the optimizer, becomes a way to make one that trains nothing."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nndoctor.errors import UserError
from nndoctor.findings import Location
from nndoctor.probe.blame import describe_error, place_of_definition, place_of_error
from nndoctor.probe.entrypoint import required_parameters
from nndoctor.probe.errors import EntrypointError
from nndoctor.probe.optimizers import OptimizerRecipe
from nndoctor.probe.recording import calling_line

EVERY_BATCH, EVERY_EPOCH = "step", "epoch"  # as Lightning calls the intervals
OF_LIGHTNING = "configure_optimizers"  # where nothing else is said it steps once an epoch


@dataclass(frozen=True, slots=True, eq=False)
class Scheduled:
    """A scheduler over a dummy parameter, and what is known of when it is stepped."""

    scheduler: LRScheduler
    interval: str | None = None  # EVERY_BATCH or EVERY_EPOCH; None where only the training loop knows
    frequency: int = 1  # every how many intervals it is stepped
    location: Location | None = None  # where it is made

    @property
    def rate(self) -> float:
        """The highest rate of the groups now."""
        return max(float(group["lr"]) for group in self.scheduler.optimizer.param_groups)


@dataclass(frozen=True, slots=True)
class ScheduleRecipe:
    """Makes the user's scheduler anew, from a factory of its own or from that of the optimizer."""

    optimizer: OptimizerRecipe | None
    value: Any = None  # a scheduler, or a factory of one; None: it comes beside the optimizer
    name: str = ""

    def __call__(self, model: nn.Module) -> Scheduled | None:
        """None if the optimizer comes without one; raises EntrypointError if what the user named makes none."""
        with _places() as places:
            made = self._named(model) if self.value is not None else self.optimizer and self.optimizer.everything(model)
            found = next(_schedulers(made), None)
            lines = [place for place in places.values() if place]
        if found is None:
            if self.value is None:
                return None
            raise EntrypointError(f"`{self.name}` gives no scheduler of torch.optim.lr_scheduler")
        scheduler, interval, frequency = found
        if interval is None and self.value is None and self.optimizer and self.optimizer.name == OF_LIGHTNING:
            interval = EVERY_EPOCH
        defined, _ = place_of_definition(self.value) or (None, None)
        place = places.get(id(scheduler)) or next(reversed(lines), defined)
        return Scheduled(_over_dummies(scheduler), interval, frequency, place)

    def _named(self, model: nn.Module) -> Any:
        if not callable(self.value) or isinstance(self.value, LRScheduler):
            return self.value
        try:
            return self.value(self._optimizer(model)) if required_parameters(self.value) else self.value()
        except UserError:
            raise
        except Exception as error:
            place = place_of_error(error)
            where = f" at {place.path}:{place.line}" if place else ""
            raise EntrypointError(
                f"`{self.name}` makes no scheduler{where}: {describe_error(error)}; it is called with the optimizer",
                place,
            ) from error

    def _optimizer(self, model: nn.Module) -> Optimizer:
        if self.optimizer is None:
            raise EntrypointError(f"`{self.name}` is called with an optimizer: name one with --optimizer")
        return self.optimizer(model)


def _schedulers(made: Any) -> Iterator[tuple[LRScheduler, str | None, int]]:
    """Each with interval and frequency, in what a factory or configure_optimizers returns."""
    if isinstance(made, LRScheduler):
        yield made, None, 1
    elif isinstance(made, Mapping):
        scheduler = made.get("scheduler")
        if isinstance(scheduler, LRScheduler):
            yield scheduler, made.get("interval", EVERY_EPOCH), int(made.get("frequency", 1))
        else:
            yield from _schedulers(made.get("lr_scheduler"))
    elif isinstance(made, (tuple, list)):
        for part in made:
            yield from _schedulers(part)


def _over_dummies(scheduler: LRScheduler) -> LRScheduler:
    """A copy of scheduler and optimizer in which an empty parameter stands for each of the model's."""
    listed = [parameter for group in scheduler.optimizer.param_groups for parameter in group["params"]]
    return copy.deepcopy(scheduler, {id(parameter): nn.Parameter(parameter.new_empty(0)) for parameter in listed})


@contextmanager
def _places() -> Iterator[dict[int, Location | None]]:
    """By id of each scheduler that is made meanwhile the user's line that makes it."""
    places: dict[int, Location | None] = {}
    original: Callable[..., None] = LRScheduler.__init__

    def noting(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
        places[id(self)] = calling_line(sys._getframe(1), ScheduleRecipe.__call__)
        original(self, *args, **kwargs)

    LRScheduler.__init__ = noting  # type: ignore[method-assign]
    try:
        yield places
    finally:
        LRScheduler.__init__ = original  # type: ignore[method-assign]
