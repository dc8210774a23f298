"""NDP02: would a different last bias start the training where the model only has the inputs left to learn."""

from __future__ import annotations

import math

from torch import nn

from nndoctor.findings import Confidence, Figure, Finding, Severity
from nndoctor.probe.effort import Effort
from nndoctor.probe.references import References, first_tensor, measure_references, observe
from nndoctor.probe.registry import Outcome, model_finding, probe
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.thresholds import Threshold

FAR_RATIO = Threshold(
    "NDP02",
    "far-ratio",
    10.0,
    "Healthy regressions start at 0.98 to 1.10 times the best constant's loss; 10 is a mean three deviations "
    "from zero.",
)
FAR_DISTANCE = Threshold(
    "NDP02",
    "far-distance",
    1.0,
    "Adam moves a bias by about its rate a step, so at 1e-3 a distance of 1 costs a thousand steps.",
)
IMBALANCE_NATS = Threshold(
    "NDP02",
    "imbalance-nats",
    0.35,
    "Classes of 1:10 start 0.39 nats and a factor of 2.3 above their entropy, classes of 1:4 only 0.19 nats.",
)
IMBALANCE_RATIO = Threshold(
    "NDP02",
    "imbalance-ratio",
    2.0,
    "The loss at zero by the entropy of the labels: classes of 1:10 start at 2.3 times it.",
)
# Frequencies that rest on fewer labels a class are guesses.
LABELS_PER_CLASS = 20
SHOWN = 6  # values of a bias that a message can hold


@probe("NDP02")
def init_bias(subject: Subject, effort: Effort) -> Outcome:
    """The loss of zero outputs against that of the best constant outputs, and the bias between them."""
    batches = subject.batches.first(effort.batches)
    subject.model.train()
    references = measure_references(subject, [observe(subject, batch) for batch in batches])
    measurements = _figures(subject, references)
    return Outcome(
        summary=_summary(references),
        findings=tuple(_verdict(subject, references, measurements)),
        measurements=measurements,
        steps=len(batches),
    )


def _figures(subject: Subject, references: References) -> dict[str, Figure]:
    return {
        "initial loss": references.initial,
        "loss of zero outputs": references.zero,
        "loss of the best constant output": references.prior,
        "best constant output": _listed(references.constant),
        "labels": references.examples,
    }


def _listed(values: tuple[float, ...]) -> str:
    text = ", ".join(f"{value:.4g}" for value in values[:SHOWN])
    return text + (", ..." if len(values) > SHOWN else "")


def _summary(references: References) -> str:
    if references.prior is None:
        return f"{references.initial:.4g}; this loss has no best constant output"
    best = _listed(references.constant)
    return f"{references.initial:.4g}, the best constant output {best} gives {references.prior:.4g}"


def _verdict(subject: Subject, references: References, measurements: dict[str, Figure]) -> list[Finding]:
    if references.zero is None or references.prior is None or not references.constant:
        return []
    if subject.task.kind is TaskKind.REGRESSION:
        return [_offset(subject, references, measurements)] if _is_offset(references) else []
    if _is_imbalanced(subject, references, references.zero, references.prior):
        return [_imbalance(subject, references, measurements)]
    return []


def _is_offset(references: References) -> bool:
    assert references.zero is not None and references.prior is not None, "checked by the caller"
    distance = max(abs(value - references.output_mean) for value in references.constant)
    far = FAR_RATIO.value * references.prior
    return references.prior > 0 and references.zero > far and references.initial > far and distance > FAR_DISTANCE.value


def _is_imbalanced(subject: Subject, references: References, zero: float, prior: float) -> bool:
    """Not for tokens, pixels and tags, where a frequent background is the rule and soon learned."""
    binary = subject.task.kind is TaskKind.MULTI_LABEL
    if not references.per_example or not (binary or subject.task.kind is TaskKind.CLASSIFICATION):
        return False
    classes = 2 if binary else len(references.constant)
    if references.examples < LABELS_PER_CLASS * classes or not _sees_every_class(subject, classes):
        return False
    nat = zero / math.log(classes)
    unset = references.initial - prior > (zero - prior) / 2  # else the bias is where it should be
    return unset and zero - prior > IMBALANCE_NATS.value * nat and zero > IMBALANCE_RATIO.value * prior


def _sees_every_class(subject: Subject, classes: int) -> bool:
    """A loader that is sorted by class shows few of them, which says nothing about how frequent they are."""
    seen: set[float] = set()
    for batch in subject.batches.kept:
        target = first_tensor(subject.split(batch).targets)
        seen.update(target.flatten().tolist() if target is not None else ())
    return len(seen) >= classes


def _offset(subject: Subject, references: References, measurements: dict[str, Figure]) -> Finding:
    values, where = _listed(references.constant), _last_bias(subject, len(references.constant))
    deviation = math.sqrt(max(references.prior or 0.0, 0.0))
    return model_finding(
        "NDP02",
        subject,
        f"the targets lie around {values}, the untrained outputs around {references.output_mean:.3g}: the loss starts "
        f"at {references.initial:.4g}, and {references.prior:.4g} is reached with {values} everywhere",
        treatment=f"Start {where} at {values}, or standardise the targets: subtract {values}"
        + (f" and divide by {deviation:.3g}." if deviation else "."),
        measurements={**measurements, "cause": "bias far from the targets"},
    )


def _imbalance(subject: Subject, references: References, measurements: dict[str, Figure]) -> Finding:
    values, where = _listed(references.constant), _last_bias(subject, len(references.constant))
    kind = "log-odds" if subject.task.kind is TaskKind.MULTI_LABEL else "log-frequencies"
    return model_finding(
        "NDP02",
        subject,
        f"the classes are unevenly frequent, and the untrained model takes them for equal: the loss starts at "
        f"{references.initial:.4g}, the frequencies alone give {references.prior:.4g}",
        treatment=f"Start {where} at the {kind} of the classes: {values}.",
        severity=Severity.INFO,
        confidence=Confidence.LIKELY,
        measurements={**measurements, "cause": "uneven classes"},
    )


def _last_bias(subject: Subject, units: int) -> str:
    """The name of the last bias with one value a unit."""
    biased = [
        name
        for name, module in subject.model.named_modules()
        if isinstance(bias := getattr(module, "bias", None), nn.Parameter) and bias.shape == (units,)
    ]
    return f"`{biased[-1]}.bias`" if biased and biased[-1] else "the last layer's bias"
