"""NDP03: a few fixed examples must be learned by heart; a model that cannot is broken, and the plateau says how."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from torch import Tensor

from nndoctor.findings import Figure, Finding, Series
from nndoctor.probe.diagnosis import Diagnosis
from nndoctor.probe.effort import Effort
from nndoctor.probe.loss_faults import diagnose_start
from nndoctor.probe.memorising import Attempt, Start, memorise, starting_point
from nndoctor.probe.plateau import diagnose_fit, diagnose_floor
from nndoctor.probe.references import CLASS_TASKS, first_tensor
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject

EXAMPLES = 8
FEWEST_EXAMPLES = 2  # what even a linear model of one input can learn by heart
HIGHER_RATES = (1e-2, 1e-1, 1e-3)  # a linear model may have to move far between two points
MANY_PREDICTIONS = 512  # sequences and pictures have many predictions an example, and take many steps to learn
TIME_SHARE = 0.4  # of the deadline for each of the two attempts; a slow model must still be diagnosed
SHOWN = 8  # predictions beside labels


@probe("NDP03")
def overfit_batch(subject: Subject, effort: Effort) -> Outcome:
    """The loss curve on 2 to 8 examples with dropout off, against the lowest loss that outputs can reach.

    A cause that a slow fit or a small model could have too must show on two examples as well.
    """
    start = _start(subject)
    diagnosis = diagnose_start(subject, start)
    if not start.learnable:
        return _outcome(subject, start, None, diagnosis)
    began = time.monotonic()
    attempt = memorise(subject, start, effort.steps, began + TIME_SHARE * effort.seconds)
    if diagnosis or attempt.learned:
        return _outcome(subject, start, attempt, diagnosis)
    diagnosis = diagnose_floor(subject, attempt) or diagnose_fit(subject, attempt)
    if diagnosis is None or diagnosis.is_certain:
        return _outcome(subject, start, attempt, diagnosis)
    if attempt.unfinished or not start.is_measurable:
        return _outcome(subject, start, attempt, None)
    few = starting_point(subject, FEWEST_EXAMPLES)
    fewer = memorise(subject, few, effort.steps, began + 2 * TIME_SHARE * effort.seconds, HIGHER_RATES)
    return _outcome(subject, start, attempt, None if fewer.learned or fewer.unfinished else diagnosis, fewer)


def _start(subject: Subject) -> Start:
    start = starting_point(subject, EXAMPLES)
    if start.output is None or _predictions(subject, start.output) <= MANY_PREDICTIONS:
        return start
    return starting_point(subject, FEWEST_EXAMPLES)


def _predictions(subject: Subject, output: Tensor) -> int:
    return output.numel() // (subject.task.classes or 1) if subject.task.kind in CLASS_TASKS else output.numel()


def _outcome(
    subject: Subject,
    start: Start,
    attempt: Attempt | None,
    diagnosis: Diagnosis | None,
    fewer: Attempt | None = None,
) -> Outcome:
    measurements = _figures(subject, start, attempt)
    if fewer:
        measurements[f"final loss on {fewer.start.examples} examples"] = fewer.best.curve.best
    found = [_finding(subject, start, attempt, diagnosis, measurements)] if diagnosis else []
    return Outcome(
        summary=_summary(start, attempt),
        findings=tuple(found),
        measurements=measurements,
        series={"loss": _series(start, attempt)} if attempt else {},
        steps=sum(len(fit.curve.losses) for each in (attempt, fewer) if each for fit in each.fits),
    )


def _figures(subject: Subject, start: Start, attempt: Attempt | None) -> dict[str, Figure]:
    figures: dict[str, Figure] = {
        "examples": start.examples,
        "range of the outputs": None if start.output is None else start.confined.name or "free",
        "initial loss": start.references.initial,
        "lowest possible loss": start.floor,
        "loss of the best constant output": start.references.prior,
        "loss of zero outputs": start.references.zero,
    }
    if attempt:
        best = attempt.best.curve
        figures |= {"final loss": best.best, "steps": len(best.losses), "rate": best.rate}
        figures |= _answers(subject, start, attempt.best.output)
    return figures


def _answers(subject: Subject, start: Start, output: Tensor | None) -> Mapping[str, Figure]:
    """Accuracy, and the first predictions beside their labels."""
    targets = first_tensor(start.split.targets)
    if output is None or targets is None or subject.task.kind not in CLASS_TASKS:
        return {}
    predicted, labels = output.argmax(subject.task.class_dim).flatten(), targets.flatten()
    if predicted.shape != labels.shape:
        return {}
    counted = labels >= 0
    return {
        "accuracy": float((predicted == labels)[counted].float().mean()),
        "predicted": " ".join(str(int(value)) for value in predicted[:SHOWN]),
        "labels": " ".join(str(int(value)) for value in labels[:SHOWN]),
    }


def _summary(start: Start, attempt: Attempt | None) -> str:
    if attempt is None:
        return f"{start.references.initial:.4g}, and no gradient to lower it"
    curve = attempt.best.curve
    fall = f"{curve.losses[0]:.4g} to {curve.best:.4g} in {len(curve.losses)} steps on {start.examples} examples"
    if attempt.learned:
        return fall
    if not start.is_measurable:
        return f"{fall}; the floor of this loss is not known"
    return f"{fall}, {'and still falling' if attempt.unfinished else f'expected {start.floor:.3g}'}"


def _series(start: Start, attempt: Attempt) -> Series:
    known = {"floor": start.floor, "best constant": start.references.prior, "zero outputs": start.references.zero}
    known[f"floor behind a {start.confined.name}"] = start.floors.of_range
    known["floor of equal inputs"] = start.floors.of_equal_inputs
    return Series(
        values=attempt.best.curve.losses,
        label="loss on the same examples",
        y_label="loss",
        references={name: value for name, value in known.items() if value is not None and math.isfinite(value)},
    )


def _finding(
    subject: Subject, start: Start, attempt: Attempt | None, diagnosis: Diagnosis, measurements: Mapping[str, Figure]
) -> Finding:
    message = diagnosis.message
    if attempt and not attempt.learned and start.is_measurable and math.isfinite(attempt.best.curve.best):
        message = (
            f"{start.examples} examples cannot be learned, the loss stays at {attempt.best.curve.best:.4g}: {message}"
        )
    return finding(
        "NDP03",
        message,
        treatment=diagnosis.treatment,
        confidence=diagnosis.confidence,
        location=diagnosis.location or subject.location,
        source_line=diagnosis.source_line if diagnosis.location else subject.source_line,
        measurements={**measurements, "cause": diagnosis.cause},
    )
