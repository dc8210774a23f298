"""NDP04: the outputs of one example must not depend on the other examples of the batch."""

from __future__ import annotations

import re

from torch import nn

from nndoctor.findings import Confidence, Evidence, Figure, Finding, Series, Severity
from nndoctor.probe.blame import source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.examples import Examples
from nndoctor.probe.influence import Influence
from nndoctor.probe.isolation import (
    EVAL,
    THRESHOLD,
    TRAIN,
    TRAIN_BATCH_NORM,
    Reading,
    Setting,
    changed,
    choose_examples,
    first_touched,
    jitter,
    locate,
    off_diagonal_gradient,
    other_settings,
    read,
    refuse_ambiguous,
    try_read,
)
from nndoctor.probe.mixing import BATCH_NORM, RANDOM, advice, cause, describe
from nndoctor.probe.ownership import Step
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject

# Names of layers that look at the whole batch on purpose: MinibatchStdDev, GhostBatchNorm, BatchRenorm.
DESIGNED = re.compile(r"mini_?batch|batch_?(std|norm|renorm|whiten)|ghost|mbstd", re.IGNORECASE)


@probe("NDP04")
def gradient_isolation(subject: Subject, effort: Effort) -> Outcome:
    """Change a few examples in turn, in eval mode, then in train mode, with batch norm set aside in both."""
    batch = subject.batches.first(1)[0]
    examples, rivals = choose_examples(subject, batch)
    deviation = jitter(subject, examples)
    readings = {EVAL: read(subject, examples, EVAL)}
    if readings[EVAL].mixes:
        refuse_ambiguous(subject, rivals)
    else:
        others = other_settings(subject.model)
        readings |= {setting: reading for setting in others if (reading := try_read(subject, examples, setting))}
    gradient = off_diagonal_gradient(subject, examples, readings[EVAL])
    found = {
        setting: verdict
        for setting, reading in readings.items()
        if reading.mixes and (verdict := _finding(subject, examples, setting, reading, gradient))
    }
    return Outcome(
        summary=_summary(readings, max([readings[EVAL], *(readings[setting] for setting in found)], key=_off_diagonal)),
        findings=tuple(found.values()),
        measurements=_measurements(readings, gradient, examples, deviation),
        series={"influence": _series(readings[EVAL].influence)},
        steps=sum(len(changed(examples, setting)) + 2 for setting in readings),
    )


def _finding(
    subject: Subject,
    examples: Examples,
    setting: Setting,
    reading: Reading,
    gradient: float | None,
) -> Finding | None:
    """The verdict on a setting in which examples mix, None where they do so by design."""
    if setting is TRAIN_BATCH_NORM:
        return None
    blamed = locate(subject, examples, setting, reading)
    by_batch_norm = blamed is not None and blamed.operation.name in BATCH_NORM
    if setting is TRAIN and (blamed is None or by_batch_norm or RANDOM.search(blamed.operation.name)):
        return None  # by design, or an example changed how many random numbers were drawn before
    place = blamed.operation.location if blamed else None
    line = source_line(place.path, place.line) if place else subject.source_line
    row, others = first_touched(reading.influence)
    through = " through batch norm" if by_batch_norm else ""
    owner = _owner(subject.model, blamed)
    severity, confidence = _weight(setting, by_batch_norm, owner, gradient)
    return finding(
        "NDP04",
        f"{setting.phrase}output {row} depends on {_enumerated(others)}{through}",
        treatment=advice(blamed) if blamed else None,
        severity=severity,
        confidence=confidence,
        location=place or subject.location,
        source_line=line,
        evidence=_evidence(subject, blamed, line, reading, gradient if setting is EVAL else None),
        measurements={
            "cause": cause(blamed),
            "off_diagonal": reading.off_diagonal,
            "expected": "0",
            "operation": blamed.operation.name if blamed else None,
            "module": blamed.operation.module or owner if blamed else None,
        },
    )


def _weight(
    setting: Setting, by_batch_norm: bool, owner: str, gradient: float | None
) -> tuple[Severity | None, Confidence]:
    """Severity and confidence: an error is certain where gradients and edits agree.

    What train mode alone does may be meant, as mixup is, and so may a layer that is called after the batch, as
    DESIGNED tells. Edits without gradients also see capacities and ranks shared by the batch.
    """
    if setting is TRAIN or (DESIGNED.search(owner) and not by_batch_norm):
        return Severity.WARNING, Confidence.POSSIBLE
    if by_batch_norm or (gradient is not None and gradient <= THRESHOLD.value):
        return Severity.WARNING, Confidence.LIKELY
    return None, Confidence.CERTAIN if gradient is not None else Confidence.LIKELY


def _owner(model: nn.Module, blamed: Step | None) -> str:
    """The class of the module whose forward holds the operation."""
    if blamed is None:
        return ""
    named = dict(model.named_modules())
    return type(named.get(blamed.operation.module, model)).__name__


def _evidence(
    subject: Subject, blamed: Step | None, line: str | None, reading: Reading, gradient: float | None
) -> tuple[Evidence, ...]:
    measured = [f"off-diagonal influence {reading.off_diagonal:.2g} of the diagonal; healthy is 0"]
    if gradient is not None:
        measured.append(f"off-diagonal gradient {gradient:.2g} of the diagonal; healthy is 0")
    if blamed is None:
        return tuple(map(Evidence, measured))
    what = describe(blamed, _owner(subject.model, blamed))
    return (Evidence(what, blamed.operation.location, line), *map(Evidence, measured))


def _enumerated(examples: list[int]) -> str:
    """`example 3`, `examples 1 to 7`, or `examples 1, 3 and 5`."""
    if len(examples) == 1:
        return f"example {examples[0]}"
    if len(examples) > 2 and examples == list(range(examples[0], examples[-1] + 1)):
        return f"examples {examples[0]} to {examples[-1]}"
    return f"examples {', '.join(map(str, examples[:-1]))} and {examples[-1]}"


def _measurements(
    readings: dict[Setting, Reading], gradient: float | None, examples: Examples, deviation: float
) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"off_diagonal": readings[EVAL].off_diagonal, "expected": "0"}
    if TRAIN in readings:
        figures["off_diagonal_train"] = readings[TRAIN].off_diagonal
    if TRAIN_BATCH_NORM in readings:
        figures["batch_norm_in_train_mode"] = readings[TRAIN_BATCH_NORM].off_diagonal
    if gradient is not None:
        figures["off_diagonal_gradient"] = gradient
    return figures | {"examples": examples.count, "jitter": deviation}


def _off_diagonal(reading: Reading) -> float:
    return reading.off_diagonal


def _summary(readings: dict[Setting, Reading], worst: Reading) -> str:
    text = f"off-diagonal influence {worst.off_diagonal:.2g}, expected 0"
    if not readings[EVAL].influence.matrix.any():
        return f"{text}; but no output depends on its own example either"
    if TRAIN_BATCH_NORM in readings:
        coupling = readings[TRAIN_BATCH_NORM].off_diagonal
        return f"{text}; batch norm in train mode couples the examples by {coupling:.2g}, as it is made to"
    return text


def _series(measured: Influence) -> Series:
    rows = tuple(tuple(row) for row in measured.matrix.tolist())
    label = "effect of the example (column) on the output (row)"
    return Series(rows, label, x_label="changed example", y_label="output of example")
