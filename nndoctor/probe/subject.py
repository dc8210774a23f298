"""Subject: the user's model with its batches, loss and optimizer, in the one form that every probe works with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.findings import Location
from nndoctor.probe.batch import Batch
from nndoctor.probe.batches import Batches
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.growth import Growth
from nndoctor.probe.memory import Undo
from nndoctor.probe.optimizers import OptimizerRecipe
from nndoctor.probe.outputs import main_tensor
from nndoctor.probe.planning import SchedulePlan
from nndoctor.probe.replicas import Share
from nndoctor.probe.session import sandbox


class TaskKind(str, Enum):
    """What the model is trained to do, as far as outputs and targets tell."""

    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"
    LANGUAGE_MODEL = "language model"  # classification of every token
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Task:
    """The task, the number of classes (or independent labels) and the dimension of the outputs that counts them."""

    kind: TaskKind = TaskKind.UNKNOWN
    classes: int | None = None
    class_dim: int = -1


@dataclass(frozen=True, slots=True)
class Split:
    """One batch as the model and the loss see it: `model(*args, **kwargs)`; targets are None where there are none."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    targets: Any
    batch: Batch = None  # whole, for a loss that looks for its targets itself


@dataclass(frozen=True, slots=True)
class StrangeLabel:
    """A label that no output stands for and the loss does not ignore; the probes are given another in its place."""

    batch: int  # the first that holds it
    label: int
    classes: int
    raised: str  # what the loss said


@dataclass(frozen=True, slots=True)
class Objective:
    """How the loss comes about.

    `criterion` is the loss as a function of the main output alone, for probes that replace the outputs; it is None
    where the loss is computed inside the model or a step and is none of the known ones.
    """

    origin: str  # which loss, and why this one: a sentence for the report
    compute: Callable[[nn.Module, Batch], tuple[Tensor, Any]]  # model, batch -> scalar loss, outputs
    criterion: Callable[[Tensor, Split], Tensor] | None = None
    holder: Any = None  # the loss or step of the user; a module among them may have state
    location: Location | None = None  # where the user's loss or step is written
    source_line: str | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """What a rank has where several train together."""

    model: nn.Module  # with what averages the gradients around it, as the user's factory returns it
    share: Share | None  # of the data set; none of a stream


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a probe may ask of the user's code; the methods run on whatever model they are given."""

    model: nn.Module
    batches: Batches
    split: Callable[[Batch], Split]
    objective: Objective | None  # none: the report says why, and only probes of the outputs apply
    optimizer: OptimizerRecipe | None
    task: Task = field(default_factory=Task)
    strange: StrangeLabel | None = None
    validation: Batches | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    amp: torch.dtype | None = None
    seed: int = 0
    schedule: SchedulePlan | None = None
    is_callable: bool = True  # the model runs on a batch; otherwise only the user's step knows how
    remake: Callable[..., nn.Module] | None = None  # another instance, with these arguments; none for a mere object
    growth: Growth | None = None
    replica: Replica | None = None  # none for a check-up in one process
    location: Location | None = None  # where the model's class or factory is written
    source_line: str | None = None
    data_location: Location | None = None  # where the loader or the data set is written
    data_source_line: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def loss_origin(self) -> str:
        """Which loss is measured, and why."""
        return self.objective.origin if self.objective else "no loss"

    @property
    def criterion(self) -> Callable[[Tensor, Split], Tensor] | None:
        """The loss as a function of the main output, None where it is none."""
        return self.objective.criterion if self.objective else None

    def sandbox(self) -> AbstractContextManager[Undo]:
        """A sandbox around model and loss; see `nndoctor.probe.session`."""
        return sandbox(self.model, self.objective and self.objective.holder, seed=self.seed)

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast where the user asked for it."""
        if self.amp is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.amp)

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """The outputs as the model returns them; raises NotApplicableError where only the step knows how to call it."""
        if not self.is_callable:
            raise NotApplicableError("only the step knows how to call the model")
        parts = self.split(batch)
        with self.precision():
            return model(*parts.args, **parts.kwargs)

    def output_tensor(self, outputs: Any) -> Tensor:
        """The main tensor of the outputs: logits, predictions or reconstruction."""
        return main_tensor(outputs)

    def compute_loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Any]:
        """The scalar loss and the outputs; raises NotApplicableError where there is no loss."""
        if self.objective is None:
            raise NotApplicableError("no loss: give one with --loss or --step")
        with self.precision():
            return self.objective.compute(model, batch)

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """A fresh optimizer with the user's class and rates, None if the user named none."""
        return self.optimizer(model) if self.optimizer else None
