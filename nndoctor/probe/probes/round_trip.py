"""NDP19: a checkpoint loaded into a new model gives the outputs of the model that was saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nndoctor.findings import Confidence, Finding
from nndoctor.probe.batch import clone, tensors
from nndoctor.probe.blame import describe_error, source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import descend
from nndoctor.probe.layers import enumerated, place_of
from nndoctor.probe.recording import Difference, Operation, Recording, compare, record
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.session import seed_everything
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import user_optimizer
from nndoctor.thresholds import Threshold

STEPS = 3  # of training, so that what training moves has moved
SAME = Threshold(
    "NDP19",
    "same",
    1e-4,
    "Healthy models differ by 0, and by 1e-7 of their outputs where memory is laid out otherwise.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Trip:
    """What came of saving and loading."""

    missing: tuple[str, ...] = ()  # the new model has them, the checkpoint has not
    unexpected: tuple[str, ...] = ()  # the other way round
    error: str = ""  # of load_state_dict, for instance on shapes
    difference: float = 0.0  # largest, by the size of the outputs
    first: Operation | None = None  # the first operation that differs


@probe("NDP19")
def round_trip(subject: Subject, effort: Effort) -> Outcome:
    """Train a little, load the state dict into a new model made with another seed, compare outputs in eval mode."""
    if subject.remake is None:
        raise NotApplicableError("the model was given as an object: name its class or a function that makes it")
    with subject.sandbox():
        if subject.objective and any(parameter.requires_grad for parameter in subject.model.parameters()):
            subject.model.train()
            descend(subject, subject.batches.cycle(STEPS), user_optimizer(subject))
        seed_everything(subject.seed + 1)
        trip = _travel(subject, _new_model(subject, subject.remake()))
    found = tuple(_verdict(subject, trip))
    return Outcome(
        summary=f"outputs after save and load differ by {trip.difference:.2g}, expected 0"
        if not found
        else "a new model does not continue where the saved one was",
        findings=found,
        measurements={"difference": trip.difference, "missing": len(trip.missing), "unexpected": len(trip.unexpected)},
        steps=STEPS + 3,
    )


def _new_model(subject: Subject, model: nn.Module) -> nn.Module:
    own = {id(parameter) for parameter in subject.model.parameters()}
    if model is subject.model or any(id(parameter) in own for parameter in model.parameters()):
        raise NotApplicableError("the factory returns the same model each time")
    return model


def _travel(subject: Subject, new: nn.Module) -> Trip:
    saved = {name: clone(value) for name, value in subject.model.state_dict().items()}
    try:
        result = new.load_state_dict(saved, strict=False)
    except RuntimeError as error:
        return Trip(error=describe_error(error) + str(error).partition("\n")[2].strip().partition("\n")[0])
    if result.missing_keys or result.unexpected_keys:
        return Trip(tuple(result.missing_keys), tuple(result.unexpected_keys))
    old, again, loaded = (_run(subject, model) for model in (subject.model, subject.model, new))
    if _difference(old[0], again[0]) > 0:
        raise NotApplicableError("two runs of the same model differ")
    parted: Difference | None = compare(old[1], loaded[1])
    return Trip(difference=_difference(old[0], loaded[0]), first=parted.first if parted else None)


def _run(subject: Subject, model: nn.Module) -> tuple[list[Tensor], Recording]:
    model.eval()
    seed_everything(subject.seed)
    batch = subject.batches.first(1)[0]
    outputs: list[Tensor] = []

    def call() -> list[Tensor]:
        with torch.no_grad():
            outputs.extend(tensors(subject.forward(model, batch)))
        return outputs

    return outputs, record(call, model)


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference of floating-point outputs, by their size."""
    pairs = [pair for pair in zip(one, other, strict=True) if pair[0].is_floating_point()]
    shares = [float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs if a.numel()]
    return max(shares, default=0.0)


def _verdict(subject: Subject, trip: Trip) -> Iterator[Finding]:
    if trip.error:
        yield _finding(subject, "does not load", f"the model's state dict does not load into a new one: {trip.error}")
    elif names := trip.unexpected or trip.missing:
        which = "of the checkpoint are unknown to" if trip.unexpected else "are missing in the checkpoint of"
        message = f"{enumerated(names)} {which} a new model: the layers were made after `__init__`"
        yield _finding(subject, "other names", message, name=names[0])
    elif trip.difference > SAME.value:
        yield _finding(
            subject,
            "state outside",
            f"a new model with the saved state dict gives other outputs, by {trip.difference:.2g} of their size: the "
            "model keeps something that `state_dict()` does not hold",
            operation=trip.first,
        )


def _finding(subject: Subject, cause: str, message: str, name: str = "", operation: Operation | None = None) -> Finding:
    location, line = place_of(subject, name) if name else (subject.location, subject.source_line)
    if operation and operation.location:
        location = operation.location
        line = source_line(location.path, location.line)
    return finding(
        "NDP19",
        message,
        confidence=Confidence.LIKELY,
        location=location,
        source_line=line,
        measurements={"cause": cause, "operation": operation.name if operation else None},
    )
