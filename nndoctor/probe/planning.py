"""Planning: how many steps the scheduler will make in the run that the user means to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from nndoctor.probe.batches import Batches
from nndoctor.probe.optimizers import OptimizerRecipe
from nndoctor.probe.schedules import EVERY_BATCH, EVERY_EPOCH, ScheduleRecipe
from nndoctor.requests import ProbeRequest
from nndoctor.scan.plan import Plan


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """A scheduler and the run it is for; None for what nobody says."""

    recipe: ScheduleRecipe
    epochs: int | None = None
    steps_per_epoch: int | None = None
    interval: str | None = None  # EVERY_BATCH or EVERY_EPOCH


def plan_schedule(
    request: ProbeRequest,
    model: nn.Module,
    optimizer: OptimizerRecipe | None,
    named: Any,
    batches_per_epoch: int | None,
    look_up: Callable[[], Plan | None],
) -> SchedulePlan | None:
    """None without a scheduler; the script is only read for what the command line leaves open.

    Makes the scheduler once, so that one that cannot be made is known now; the caller keeps it in a sandbox.
    """
    recipe = ScheduleRecipe(optimizer, named, request.scheduler or "")
    scheduled = recipe(model) if optimizer is not None or named is not None else None
    if scheduled is None:
        return None
    complete = request.epochs is not None and scheduled.interval is not None
    script = (None if complete else look_up()) or Plan()
    interval = None if script.per_batch is None else EVERY_BATCH if script.per_batch else EVERY_EPOCH
    return SchedulePlan(
        recipe,
        epochs=request.epochs or script.epochs,
        steps_per_epoch=request.steps_per_epoch or script.steps_per_epoch or batches_per_epoch,
        interval=scheduled.interval or interval,
    )


def count_batches(loader: Iterable[Any], batches: Batches) -> int | None:
    """How many batches an epoch has, None where only a whole pass would tell."""
    if batches.exhausted:
        return len(batches)
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:  # an iterable data set, a generator
        return None
