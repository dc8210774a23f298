"""NDP20: a batch of one and a last batch that is not full give outputs of the right shape, in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Finding, Location
from nndoctor.probe.batch import Batch, clone, take, tensors
from nndoctor.probe.blame import describe_error, place_of_error, source_line
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import why_no_examples
from nndoctor.probe.recording import Operation, record
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject

# What torch says of a batch norm that has one value a channel; only a last batch of one meets it.
BATCH_NORM_OF_ONE = "Expected more than 1 value per channel"


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A forward on the first `count` examples in one mode."""

    count: int
    training: bool
    output: Tensor | None = None
    error: str = ""
    location: Location | None = None  # of the error, or of the operation that lost the batch or its finiteness

    @property
    def phrase(self) -> str:
        """`a batch of 1 in eval mode`."""
        return f"a batch of {self.count} in {'train' if self.training else 'eval'} mode"


@probe("NDP20")
def small_batches(subject: Subject, effort: Effort) -> Outcome:
    """Run the whole batch, one example less, and one example, in eval and in train mode."""
    batch = subject.batches.first(1)[0]
    size = _size(subject, batch)
    found: list[Finding] = []
    refused = False
    for training in (False, True):
        whole = _try(subject, batch, size, size, training)
        if whole.output is None:
            raise NotApplicableError(f"the model could not be run on its own: {whole.error}")
        for count in dict.fromkeys((size - 1, 1)):
            trial = _try(subject, batch, size, count, training)
            refused |= BATCH_NORM_OF_ONE in trial.error
            if not found:
                found += _verdict(subject, whole, trial)
    note = "; batch norm refuses a single example in train mode" if refused else ""
    return Outcome(
        summary="fails on a smaller batch" if found else f"batches of {size - 1} and 1 run in both modes{note}",
        findings=tuple(found),
        measurements={
            "batch": size,
            "smaller batches fail": bool(found),
            "batch norm refuses one example": refused,
        },
        steps=6,
    )


def _size(subject: Subject, batch: Batch) -> int:
    sizes = likely_sizes(batch, subject.batches.size)
    if not sizes or sizes[0] < 2:
        raise NotApplicableError("the batch holds fewer than two examples")
    if len(sizes) > 1:
        raise NotApplicableError(f"nothing tells whether the batch holds {sizes[0]} or {sizes[1]} examples")
    if reason := why_no_examples(subject.split(batch), sizes[0]):
        raise NotApplicableError(reason)
    return sizes[0]


def _try(subject: Subject, batch: Batch, size: int, count: int, training: bool) -> Trial:
    part = take(clone(batch), slice(0, count), size)
    with subject.sandbox(), torch.no_grad():
        subject.model.train(training)
        try:
            output = _main_output(subject, subject.forward(subject.model, part))
        except Exception as error:  # whatever the model raises on a batch that it does not expect
            return Trial(count, training, error=describe_error(error), location=place_of_error(error))
    return Trial(count, training, output)


def _main_output(subject: Subject, outputs: Any) -> Tensor:
    """The main output, also where it has lost all its dimensions."""
    try:
        return subject.output_tensor(outputs)
    except NotApplicableError:
        scalar = next((tensor for tensor in tensors(outputs) if tensor.is_floating_point()), None)
        if scalar is None:
            raise
        return scalar


def _verdict(subject: Subject, whole: Trial, trial: Trial) -> Iterator[Finding]:
    """What goes wrong with the smaller batch and did not with the whole one."""
    if whole.output is None or BATCH_NORM_OF_ONE in trial.error:
        return
    if trial.output is None:
        squeezed = _bare_squeeze(subject, trial)
        yield _finding(
            subject, "smaller batch fails", f"{trial.phrase} fails: {trial.error}", squeezed or trial.location
        )
    elif trial.output.ndim < whole.output.ndim:
        shapes = f"{tuple(trial.output.shape)}, of {whole.count} {tuple(whole.output.shape)}"
        message = f"the outputs of {trial.phrase} have the shape {shapes}: the batch dimension is lost"
        yield _finding(subject, "batch dimension lost", message, _bare_squeeze(subject, trial))
    elif not bool(trial.output.isfinite().all()) and bool(whole.output.isfinite().all()):
        message = f"the outputs of {trial.phrase} are not finite"
        yield _finding(subject, "smaller batch not finite", message, _first_broken(subject, trial))


def _bare_squeeze(subject: Subject, trial: Trial) -> Location | None:
    """The first squeeze that takes every dimension of size one away, that of a batch of one among them."""
    for operation in _operations(subject, trial):
        before, after = next(iter(operation.input_shapes), ()), operation.outputs[0].shape
        if operation.name.startswith("squeeze") and before[:1] == (1,) and 1 not in after:
            return operation.location
    return None


def _first_broken(subject: Subject, trial: Trial) -> Location | None:
    return next((each.location for each in _operations(subject, trial) if not each.outputs[0].finite), None)


def _operations(subject: Subject, trial: Trial) -> tuple[Operation, ...]:
    """The operations of the trial, up to the error if it fails."""
    batch = subject.batches.first(1)[0]
    part = take(batch, slice(0, trial.count), _size(subject, batch))
    with subject.sandbox(), torch.no_grad():
        subject.model.train(trial.training)

        def call() -> list[Tensor]:
            with suppress(Exception):
                subject.forward(subject.model, part)
            return []

        return record(call, subject.model).operations


def _finding(subject: Subject, cause: str, message: str, place: Location | None) -> Finding:
    line = source_line(place.path, place.line) if place else subject.source_line
    return finding(
        "NDP20",
        message,
        confidence=Confidence.LIKELY,
        location=place or subject.location,
        source_line=line,
        measurements={"cause": cause},
    )
