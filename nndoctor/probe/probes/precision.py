"""NDP21: loss and gradients under bfloat16 autocast must be those of float32, but for rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Evidence, Figure, Finding, Severity
from nndoctor.probe.batch import tensors
from nndoctor.probe.blame import describe_error, place_of_error, source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import calm
from nndoctor.probe.recording import Imprint, Operation, Recording, record
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

HALF = torch.bfloat16
FAR_LOSS = Threshold(
    "NDP21",
    "far-loss",
    0.05,
    "Losses of healthy models differ by at most 0.001 of themselves, the cosine of their gradients is at least 0.998.",
)
FAR_COSINE = Threshold(
    "NDP21", "far-cosine", 0.9, "The cosine of the gradients in both precisions is at least 0.998 in healthy models."
)
REPEATABLE = 1e-4  # what a GPU may differ by from run to run
# bfloat16 keeps 8 bits, 0.4 %; a result this far off has lost its meaning in that operation.
LOST = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward and backward in one precision."""

    loss: float
    gradient: Tensor  # of all parameters, flattened
    recording: Recording


@probe("NDP21")
def precision(subject: Subject, effort: Effort) -> Outcome:
    """The same batch, weights and random numbers in float32 and under autocast."""
    full = _run(subject, None)
    if not math.isfinite(full.loss) or not bool(full.gradient.isfinite().all()):
        raise NotApplicableError("loss or gradients are not finite in float32 either")
    if not math.isclose(full.loss, _run(subject, None).loss, rel_tol=REPEATABLE):
        raise NotApplicableError("the loss differs from run to run in float32 too, so nothing can be compared")
    try:
        half = _run(subject, HALF)
    except NotApplicableError:
        raise
    except Exception as error:  # an operation that has no bfloat16, or types that do not go together
        return Outcome("autocast to bfloat16 fails", (_failure(subject, error),), steps=3)
    figures: dict[str, Figure] = {
        "loss in float32": full.loss,
        "loss in bfloat16": half.loss,
        "cosine of the gradients": _cosine(full.gradient, half.gradient),
    }
    trouble = _trouble(full, half)
    found = (_finding(subject, trouble, full, half, figures),) if trouble else ()
    summary = f"{full.loss:.5g} in float32, {half.loss:.5g} under bfloat16 autocast, gradients at a cosine of "
    return Outcome(summary + f"{_cosine(full.gradient, half.gradient):.4f}, expected 1", found, figures, steps=3)


def _run(subject: Subject, dtype: torch.dtype | None) -> Pass:
    subject = replace(subject, amp=dtype)
    batch = subject.batches.first(1)[0]
    losses: list[Tensor] = []

    def step() -> list[Tensor]:
        loss, outputs = subject.compute_loss(subject.model, batch)
        losses.append(loss)
        return [loss, *tensors(outputs)]

    with subject.sandbox():
        calm(subject.model)
        subject.model.zero_grad(set_to_none=True)
        recording = record(step, subject.model)
        if not losses[0].requires_grad:
            raise NotApplicableError("the loss has no gradient that could be compared")
        losses[0].backward()  # type: ignore[no-untyped-call]
        gradients = [
            (torch.zeros_like(each) if each.grad is None else each.grad.to_dense()).flatten().float()
            for each in subject.model.parameters()
            if each.requires_grad
        ]
        return Pass(float(losses[0].detach()), torch.cat(gradients), recording)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def _trouble(full: Pass, half: Pass) -> str | None:
    if not math.isfinite(half.loss):
        return f"the loss is {half.loss}, in float32 {full.loss:.4g}"
    if not bool(half.gradient.isfinite().all()):
        return "gradients are not finite, in float32 they are"
    cosine = _cosine(full.gradient, half.gradient)
    if abs(half.loss - full.loss) > FAR_LOSS.value * abs(full.loss) and cosine < FAR_COSINE.value:
        return f"the loss is {half.loss:.4g} instead of {full.loss:.4g}, and the gradients point elsewhere"
    if bool(full.gradient.any()) and cosine < FAR_COSINE.value:
        return f"the gradients point elsewhere than in float32, their cosine is {cosine:.2g}"
    return None


# ------------------------------------------------------------------------------------------------- the operation


def _culprit(full: Pass, half: Pass) -> Operation | None:
    """The first operation whose result is not finite, or has lost its meaning; none where the two take other paths."""
    for one, other in _pairs(full.recording, half.recording):
        if any(not bad.finite and good.finite for good, bad in zip(one.outputs, other.outputs, strict=False)):
            return other
        if any(_is_lost(good, bad) for good, bad in zip(one.outputs, other.outputs, strict=False)):
            return other
    return None


def _pairs(full: Recording, half: Recording) -> Iterator[tuple[Operation, Operation]]:
    for one, other in zip(full.operations, half.operations, strict=False):
        if (one.name, one.location) != (other.name, other.location):
            return
        yield one, other


def _is_lost(good: Imprint, bad: Imprint) -> bool:
    if good.shape != bad.shape or not (good.dtype.is_floating_point and bad.dtype.is_floating_point):
        return False
    exact, rounded = (each.sample.view(each.dtype).double() for each in (good, bad))
    size = float(exact.norm())
    return size > 0 and float((exact - rounded).norm()) > LOST * size


# ------------------------------------------------------------------------------------------------- report


def _weight(subject: Subject) -> tuple[Severity, Confidence]:
    """Advice for a user who did not ask for autocast."""
    return (Severity.ERROR, Confidence.CERTAIN) if subject.amp else (Severity.INFO, Confidence.POSSIBLE)


def _finding(subject: Subject, trouble: str, full: Pass, half: Pass, figures: dict[str, Figure]) -> Finding:
    culprit = _culprit(full, half)
    place = culprit.location if culprit else None
    line = source_line(place.path, place.line) if place else None
    severity, confidence = _weight(subject)
    name = culprit.name if culprit else None
    return finding(
        "NDP21",
        f"under bfloat16 autocast {trouble}" + (f"; `{name}` is the first operation that goes wrong" if name else ""),
        severity=severity,
        confidence=confidence,
        location=place or subject.location,
        source_line=line if place else subject.source_line,
        evidence=(Evidence(f"`{name}` differs by more than a tenth, or is not finite", place, line),) if name else (),
        measurements=figures | {"cause": "lost in bfloat16", "operation": name},
    )


def _failure(subject: Subject, error: Exception) -> Finding:
    place = place_of_error(error)
    severity, confidence = _weight(subject)
    return finding(
        "NDP21",
        f"under bfloat16 autocast the model fails: {describe_error(error)}",
        severity=severity,
        confidence=confidence,
        location=place or subject.location,
        source_line=source_line(place.path, place.line) if place else subject.source_line,
        measurements={"cause": "fails in bfloat16"},
    )
