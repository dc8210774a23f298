"""NDP01: is the loss of the untrained model what a model that knows nothing yet should have."""

from __future__ import annotations

import math

import torch

from nndoctor.findings import Figure, Finding
from nndoctor.probe.batch import tensors
from nndoctor.probe.effort import Effort
from nndoctor.probe.references import CLASS_TASKS, References, measure_references, observe
from nndoctor.probe.registry import Outcome, model_finding, probe
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.thresholds import Threshold

EXCESS_NATS = Threshold(
    "NDP01",
    "excess-nats",
    2.0,
    "Logits of deviation s raise the cross-entropy by about s*s/2 nats. Healthy untrained models stay within "
    "9 % of ln C; Kaiming's gain on the last layer too gives s*s = 2, one nat; two nats are more than any "
    "usual initialisation.",
)
EXCESS_NATS_OF_RAW_INPUTS = Threshold(
    "NDP01",
    "excess-nats-of-raw-inputs",
    0.5,
    "Inputs that were never normalised are a second symptom, so less of the first will do.",
)
EXCESS_SQUARES = Threshold(
    "NDP01",
    "excess-squares",
    1e4,
    "Healthy regressions start at 0.98 to 1.10 times the variance of the targets; at 10,000 times, the "
    "outputs spread a hundred times as widely as the targets do.",
)
EXCESS_SQUARES_OF_RAW_INPUTS = Threshold(
    "NDP01",
    "excess-squares-of-raw-inputs",
    100.0,
    "Inputs that were never normalised are a second symptom, so a spread of ten times that of the targets will do.",
)
LEAK_SHARE = Threshold(
    "NDP01",
    "leak-share",
    0.5,
    "A model cannot know the labels before training; half of the best constant's loss leaves room for chance.",
)
# Below this, in nats, the batches hold hardly more than one class and the prior says nothing.
SMALLEST_PRIOR = 0.1
# Standardised inputs rarely leave -5..5; 20 and more are raw pixels, ids or sums.
LARGE_INPUT = 20.0


@probe("NDP01")
def init_loss(subject: Subject, effort: Effort) -> Outcome:
    """Mean loss over the first batches, beside the loss of zero outputs and of the best constant outputs."""
    batches = subject.batches.first(effort.batches)
    subject.model.train()
    references = measure_references(subject, [observe(subject, batch) for batch in batches])
    measurements = _figures(references)
    return Outcome(
        summary=_summary(subject, references),
        findings=tuple(_verdict(subject, references, measurements)),
        measurements=measurements,
        steps=len(batches),
    )


def _figures(references: References) -> dict[str, Figure]:
    return {
        "initial loss": references.initial,
        "loss of zero outputs": references.zero,
        "loss of the best constant output": references.prior,
        "mean of the outputs": references.output_mean,
        "deviation of the outputs": references.output_deviation,
    }


def _summary(subject: Subject, references: References) -> str:
    if references.zero is None:
        return f"{references.initial:.4g}; there is no reference for this loss"
    return f"{references.initial:.4g}, expected about {expected(subject, references)}"


def expected(subject: Subject, references: References) -> str:
    """The loss of zero outputs with its name, for instance `2.303 (ln 10)`."""
    assert references.zero is not None, "only asked where there is one"
    classes = _choices(subject)
    if classes and math.isclose(references.zero, math.log(classes), rel_tol=1e-3):
        return f"{references.zero:.4g} (ln {classes})"
    return f"{references.zero:.4g} (outputs of zero)"


def _choices(subject: Subject) -> int | None:
    """How many answers one prediction chooses from."""
    if subject.task.kind in CLASS_TASKS:
        return subject.task.classes
    return 2 if subject.task.kind is TaskKind.MULTI_LABEL else None


def _verdict(subject: Subject, references: References, measurements: dict[str, Figure]) -> list[Finding]:
    if not math.isfinite(references.initial):
        return [_not_finite(subject, references, measurements)]
    if _is_over_confident(subject, references):
        return [_over_confident(subject, references, measurements)]
    if _knows_too_much(subject, references) and _still_knows_when_scrambled(subject):
        return [_leak(subject, references, measurements)]
    return []


def _is_over_confident(subject: Subject, references: References) -> bool:
    zero, prior, classes = references.zero, references.prior, _choices(subject)
    if zero is None or zero <= 0:
        return False
    if classes:
        nat = zero / math.log(classes)  # weights and sums scale the loss; zero outputs lose ln C nats
        limit = EXCESS_NATS_OF_RAW_INPUTS.value if _has_raw_inputs(subject) else EXCESS_NATS.value
        return references.initial - zero > limit * nat
    if subject.task.kind is TaskKind.REGRESSION and prior is not None:
        times = EXCESS_SQUARES_OF_RAW_INPUTS.value if _has_raw_inputs(subject) else EXCESS_SQUARES.value
        return references.initial > times * max(zero, prior)
    return False


def _has_raw_inputs(subject: Subject) -> bool:
    return max(map(abs, _input_extent(subject))) > LARGE_INPUT


def _over_confident(subject: Subject, references: References, measurements: dict[str, Figure]) -> Finding:
    low, high = _input_extent(subject)
    measurements = {**measurements, "smallest input": low, "largest input": high}
    figures = f"outputs spread by {references.output_deviation:.3g}"
    if _has_raw_inputs(subject):
        cause, why = "inputs not scaled", f"inputs reach from {low:.4g} to {high:.4g}"
        treatment = (
            "Standardise the inputs: subtract their mean and divide by their deviation (raw pixels: first by 255)."
        )
    else:
        cause, why = "large outputs", "inputs are of ordinary size"
        scale = 0.1 / max(references.output_deviation, 1e-12)
        treatment = f"Start the last layer smaller: multiply its weights by {scale:.2g} and set its bias to zero."
    return model_finding(
        "NDP01",
        subject,
        f"the untrained model's loss is {references.initial:.4g}, expected about {expected(subject, references)}; "
        f"{figures}, {why}",
        treatment=treatment,
        measurements={**measurements, "cause": cause},
    )


def _input_extent(subject: Subject) -> tuple[float, float]:
    split = subject.split(subject.batches.first(1)[0])
    floats = [tensor for tensor in tensors([*split.args, *split.kwargs.values()]) if tensor.is_floating_point()]
    if not floats:
        return 0.0, 0.0
    return min(float(tensor.min()) for tensor in floats), max(float(tensor.max()) for tensor in floats)


def _not_finite(subject: Subject, references: References, measurements: dict[str, Figure]) -> Finding:
    return model_finding(
        "NDP01",
        subject,
        f"the loss of the untrained model is {references.initial}",
        treatment="Look for the first layer with a NaN or infinite output: a logarithm or root of zero, a division by "
        "a deviation of zero, a NaN in the inputs.",
        measurements={**measurements, "cause": "not finite"},
    )


def _knows_too_much(subject: Subject, references: References) -> bool:
    """Only for classes: a regression that returns its input plus a correction may well start below the prior."""
    prior, zero, classes = references.prior, references.zero, _choices(subject)
    if prior is None or zero is None or subject.task.kind not in CLASS_TASKS or not classes:
        return False
    nat = zero / math.log(classes)
    return prior > SMALLEST_PRIOR * nat and references.initial < LEAK_SHARE.value * prior


def _still_knows_when_scrambled(subject: Subject) -> bool:
    """Whether the low loss survives a permutation of all weights; a pretrained model forgets, a leak does not."""
    with subject.sandbox(), torch.no_grad():
        for parameter in subject.model.parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), device=parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        subject.model.train()
        seen = observe(subject, subject.batches.first(1)[0])
        return _knows_too_much(subject, measure_references(subject, [seen]))


def _leak(subject: Subject, references: References, measurements: dict[str, Figure]) -> Finding:
    return model_finding(
        "NDP01",
        subject,
        f"the untrained model's loss is {references.initial:.4g}, below {references.prior:.4g}, the best without "
        "looking at the inputs: the inputs contain the target",
        treatment="Find where the target enters the model: a feature computed from the label, targets that are not "
        "shifted against the inputs, a missing mask.",
        measurements={**measurements, "cause": "inputs hold the target"},
    )
