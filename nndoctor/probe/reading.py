"""Reading: what of a batch is input and target, which loss applies, and labels that no output stands for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.errors import UserError
from nndoctor.probe.batch import Batch, map_tensors, tensors
from nndoctor.probe.batches import Batches
from nndoctor.probe.blame import describe_error, raised_at
from nndoctor.probe.criteria import IGNORED, check_indices, class_dimension, is_integer, labels_outside
from nndoctor.probe.errors import NotApplicableError, SubjectError
from nndoctor.probe.objective import Found, LookUp, find_objective
from nndoctor.probe.outputs import main_tensor
from nndoctor.probe.session import sandbox
from nndoctor.probe.splitting import Splitter, find_splitter
from nndoctor.probe.subject import Split, StrangeLabel, TaskKind

OF_CLASSES = (TaskKind.CLASSIFICATION, TaskKind.LANGUAGE_MODEL)


@dataclass(frozen=True, slots=True)
class Given:
    """What the user said about the reading."""

    inputs: str | None
    targets: str | None
    loss: Any
    step: Any
    look_up: LookUp
    seed: int
    device: torch.device
    amp: torch.dtype | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the batches are used; `batches` are those of the loader, with another label for each strange one."""

    batches: Batches
    splitter: Splitter
    found: Found
    is_callable: bool  # the model runs on what the splitter gives it
    strange: StrangeLabel | None = None


def read(model: nn.Module, batches: Batches, given: Given) -> Reading:
    """Try the model and its loss on the first batch; raises SubjectError if they do not fit together."""
    splitter, is_callable = _find_splitter(model, batches, given)
    if isinstance(given.loss, nn.Module):
        given.loss.to(given.device)
    try:
        reading = Reading(batches, splitter, _find_objective(model, batches, splitter, given), is_callable)
    except SubjectError as error:
        classes = _count_classes(model, batches, splitter, given) if is_callable else 0
        said = str(error)
        mended, strange = _with_other_labels(batches, splitter, classes, given.loss, lambda _: said)
        if strange is None:
            raise
        return replace(read(model, mended, given), strange=strange)
    return _mended(model, reading, given)


def _find_splitter(model: nn.Module, batches: Batches, given: Given) -> tuple[Splitter, bool]:
    with sandbox(model, seed=given.seed):
        model.train()
        try:
            return find_splitter(model, batches.first(1)[0], given.inputs, given.targets), True
        except SubjectError:
            if given.step is None and not hasattr(model, "training_step"):
                raise
            return Splitter(args=("",)), False


def _find_objective(model: nn.Module, batches: Batches, splitter: Splitter, given: Given) -> Found:
    with sandbox(model, given.loss, seed=given.seed), _precision(given):
        model.train()
        try:
            return find_objective(model, batches.first(1)[0], splitter, given.loss, given.step, given.look_up)
        except UserError:
            raise
        except Exception as error:  # without autocast the model has run on this batch
            if given.amp is None:
                raise
            kind = str(given.amp).removeprefix("torch.")
            text = f"under autocast to {kind} the model fails{raised_at(error)}: {describe_error(error)}"
            raise SubjectError(f"{text}; try another --amp-dtype, or leave --amp out") from error


def _precision(given: Given) -> Any:
    return torch.autocast(given.device.type, dtype=given.amp) if given.amp else nullcontext()


# ------------------------------------------------------------------------------------------------- strange labels


def _count_classes(model: nn.Module, batches: Batches, splitter: Splitter, given: Given) -> int:
    """How many classes the outputs have, 0 if the targets do not look like classes."""
    split = splitter(batches.first(1)[0])
    labels = _labels(split)
    if labels is None:
        return 0
    with sandbox(model, seed=given.seed), torch.no_grad():
        try:
            output = main_tensor(model(*split.args, **split.kwargs))
        except NotApplicableError:
            return 0
    dimension = class_dimension(output, labels)
    return 0 if dimension is None else output.shape[dimension]


def _mended(model: nn.Module, reading: Reading, given: Given) -> Reading:
    """The reading with the labels of later batches replaced on which the loss fails."""
    task, objective = reading.found.task, reading.found.objective
    if objective is None or task.kind not in OF_CLASSES or not task.classes:
        return reading

    def fault(batch: Batch) -> str | None:
        if given.device.type != "cpu":  # there an index out of range is the end of the process
            return _unlikely_indices(reading.splitter(batch), task.classes or 0)
        with sandbox(model, objective.holder, seed=given.seed), _precision(given), torch.no_grad():
            try:
                objective.compute(model, map_tensors(Tensor.clone, batch))
            except Exception as error:  # IndexError, or whatever the user's loss raises
                return describe_error(error)
        return None

    batches, strange = _with_other_labels(reading.batches, reading.splitter, task.classes, objective.holder, fault)
    return replace(reading, batches=batches, strange=strange)


def _unlikely_indices(split: Split, classes: int) -> str | None:
    labels = _labels(split)
    try:
        check_indices(labels, classes) if labels is not None else None
    except SubjectError as error:
        return str(error)
    return None


def _with_other_labels(
    batches: Batches, splitter: Splitter, classes: int, loss: Any, fault: Callable[[Batch], str | None]
) -> tuple[Batches, StrangeLabel | None]:
    """Give what lies outside the classes the nearest label, in batches at fault, and tell the first of them."""
    spared = {IGNORED, getattr(loss, "ignore_index", IGNORED)}
    kept: list[Batch] = []
    first: StrangeLabel | None = None
    for number, batch in enumerate(batches.kept):
        labels = _labels(splitter(batch)) if classes else None
        strange = [] if labels is None else [label for label in labels_outside(labels, classes) if label not in spared]
        said = fault(batch) if strange else None
        kept.append(batch if said is None else _clamped(batch, labels, strange, classes))
        if said is not None and first is None:
            first = StrangeLabel(number, strange[-1], classes, said)
    return replace(batches, kept=tuple(kept)), first


def _labels(split: Split) -> Tensor | None:
    target = next(iter(tensors(split.targets)), None)
    return target if target is not None and is_integer(target) else None


def _clamped(batch: Batch, labels: Tensor | None, strange: list[int], classes: int) -> Batch:
    def mend(tensor: Tensor) -> Tensor:
        if tensor is not labels:
            return tensor
        wrong = torch.isin(tensor, torch.tensor(strange, dtype=tensor.dtype, device=tensor.device))
        return torch.where(wrong, tensor.clamp(0, classes - 1), tensor)

    return map_tensors(mend, batch)
