"""NDP13: the same weights, batch and seed must give the same loss and the same gradients."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Evidence, Figure, Finding, Location
from nndoctor.probe.batch import clone, tensors
from nndoctor.probe.blame import is_user_file, source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.memory import remember
from nndoctor.probe.recording import Departure, Difference, Recording, compare, record
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

RUNS = 3  # what depends on the clock or on the order of a set may agree twice
ROUNDING = Threshold(
    "NDP13",
    "rounding",
    1e-4,
    "Sums that a GPU takes in another order differ by about 1e-6 of themselves; healthy models on a CPU by exactly 0.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One step from the seed: what was computed, the outputs and loss, and the gradients by parameter."""

    recording: Recording
    results: list[Tensor]
    gradients: dict[str, Tensor]


@probe("NDP13")
def determinism(subject: Subject, effort: Effort) -> Outcome:
    """Take the same training step several times, with every seed and every generator of the script set back."""
    runs = [_run(subject) for _ in range(RUNS)]
    pairs = [(runs[0], other) for other in runs[1:]]
    results = max(_apart(one.results, other.results) for one, other in pairs)
    gradients = max(_apart([*one.gradients.values()], [*other.gradients.values()]) for one, other in pairs)
    found = [_finding(subject, pairs, results, gradients)] if max(results, gradients) > ROUNDING.value else []
    figures: dict[str, Figure] = {"outputs and loss apart": results, "gradients apart": gradients, "runs": RUNS}
    return Outcome(_summary(results, gradients), tuple(found), figures, steps=RUNS)


def _run(subject: Subject) -> Run:
    batch = subject.batches.first(1)[0]
    results: list[Tensor] = []

    def step() -> list[Tensor]:
        loss, outputs = subject.compute_loss(subject.model, clone(batch))
        results.extend([loss, *tensors(outputs)])
        return results

    with subject.sandbox(), _globals_kept():
        subject.model.train()
        subject.model.zero_grad(set_to_none=True)
        recording = record(step, subject.model)
        if results[0].requires_grad:
            results[0].backward()  # type: ignore[no-untyped-call]
        gradients = {
            name: parameter.grad.detach().to_dense().clone()
            for name, parameter in subject.model.named_parameters()
            if parameter.grad is not None
        }
    return Run(recording, [result.detach().clone() for result in results], gradients)


@contextmanager
def _globals_kept() -> Iterator[None]:
    """Set the random generators and counters of the user's modules back, which go on from run to run by design."""
    own = [vars(module) for module in list(sys.modules.values()) if _is_users(module)]
    counters = [(names, {key: value for key, value in names.items() if type(value) in (int, float)}) for names in own]
    undo = remember(*(value for names in own for value in names.values() if _is_generator(value)))
    try:
        yield
    finally:
        undo()
        for names, kept in counters:
            names.update(kept)


def _is_users(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and is_user_file(str(file))


def _is_generator(value: Any) -> bool:
    return isinstance(value, (torch.Generator, random.Random)) or type(value).__module__.startswith("numpy.random")


def _apart(ones: list[Tensor], others: list[Tensor]) -> float:
    """The largest distance of two tensors by their norm; infinite where their shapes differ."""
    if [one.shape for one in ones] != [other.shape for other in others]:
        return float("inf")
    return max((_distance(one, other) for one, other in zip(ones, others, strict=True)), default=0.0)


def _distance(one: Tensor, other: Tensor) -> float:
    one, other = (tensor.double().nan_to_num() for tensor in (one, other))
    size = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / size if size else 0.0


# ------------------------------------------------------------------------------------------------- report


def _finding(subject: Subject, pairs: list[tuple[Run, Run]], results: float, gradients: float) -> Finding:
    parts = [difference for one, other in pairs if (difference := compare(one.recording, other.recording))]
    figures: dict[str, Figure] = {"cause": "not repeatable"}
    figures |= {"outputs and loss apart": results, "gradients apart": gradients}
    if not parts:
        name = next((name for one, other in pairs if (name := _first_gradient(one, other))), "")
        return finding(
            "NDP13",
            f"the same step gives other gradients each time, first for `{name}`: they are {gradients:.2g} apart",
            confidence=Confidence.LIKELY,
            location=subject.location,
            source_line=subject.source_line,
            measurements=figures | {"parameter": name},
        )
    place, text = _where(parts[0])
    return finding(
        "NDP13",
        f"the same step from the same seed gives another loss or other outputs each time, {results:.2g} apart: "
        f"{_what(parts[0])}",
        confidence=Confidence.LIKELY,
        location=place or subject.location,
        source_line=text if place else subject.source_line,
        evidence=(Evidence("the first operation whose result differs", place, text),),
        measurements=figures | {"operation": parts[0].first.name if parts[0].first else None},
    )


def _first_gradient(one: Run, other: Run) -> str | None:
    """The last layer whose gradient differs: the backward pass comes to it first."""
    names = [
        name
        for name, gradient in one.gradients.items()
        if name not in other.gradients or _distance(gradient, other.gradients[name]) > ROUNDING.value
    ]
    return names[-1] if names else None


def _where(difference: Difference) -> tuple[Location | None, str | None]:
    operation = difference.first or difference.second
    place = operation.location if operation else None
    return place, source_line(place.path, place.line) if place else None


def _what(difference: Difference) -> str:
    name = difference.first.name if difference.first else "the end"
    match difference.kind:
        case Departure.VALUES:
            return f"`{name}` is the first to differ"
        case Departure.SHAPES:
            return f"the result of `{name}` has another shape"
    other = difference.second.name if difference.second else "the end"
    return f"after the same operations once `{name}` follows and once `{other}`"


def _summary(results: float, gradients: float) -> str:
    return (
        f"{RUNS} runs from one seed: outputs and loss {results:.2g} apart, gradients {gradients:.2g} apart, expected 0"
    )
