"""NDP08: after a few steps, every parameter that is meant to learn has had a gradient and has moved."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nndoctor.findings import Confidence, Figure, Finding, Series, Severity
from nndoctor.probe.disconnected import cut, disconnected
from nndoctor.probe.effort import Effort
from nndoctor.probe.layers import covering, enumerated, place_of
from nndoctor.probe.loss_faults import no_graph
from nndoctor.probe.operations import first_bad_operation
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import user_optimizer
from nndoctor.probe.updating import Training, train_briefly
from nndoctor.thresholds import Threshold

# A zero-initialised head lets through nothing in the first step, a zero-initialised branch behind it nothing in the
# second; six steps leave room for one more, and for layers that are dropped at random.
STEPS = 6
ALIKE = Threshold(
    "NDP08",
    "alike",
    1e-3,
    "Units that start alike and stay alike differ by rounding: up to 1e-6 of their movement. Healthy layers "
    "that start with equal units, as zero-initialised ones do, differ by 0.5 to 2 times their movement.",
)
# nn.Linear and nn.Conv draw from U(-b, b) with b = 1/sqrt(fan in): of 200 weights the largest is above 0.97 b with a
# chance of 99.8 %, and their deviation within 15 % of b/sqrt(3). Trained weights leave the bound.
FRESH_WEIGHTS = 200
FRESH_LARGEST = (0.97, 1.0001)
FRESH_DEVIATION = (0.85, 1.15)
HALF = (torch.bfloat16, torch.float16)
STALLED = Threshold(
    "NDP08",
    "stalled",
    0.05,
    "Healthy half-precision weights move in 60 to 100 % of their elements within six steps of Adam at 1e-3, "
    "bfloat16 weights of deviation 0.02 at 1e-6 in 1 %.",
)


@probe("NDP08")
def updates(subject: Subject, effort: Effort) -> Outcome:
    """A few steps with the user's optimizer: gradients, movement and ownership of every parameter."""
    with subject.sandbox():
        training = train_briefly(subject, STEPS)
        alike, stalled = _alike(subject.model, training), _stalled(training)
    found = [
        *_no_gradients(subject, training),
        *_broken(subject, training),
        *disconnected(subject, training),
        *_same_units(subject, training, alike),
        *_unpulled(subject, training, alike),
        *_lost_in_rounding(subject, training, stalled),
        *_frozen_head(subject, training),
    ]
    return Outcome(
        summary=_summary(training),
        findings=tuple(found),
        measurements=_figures(training),
        series=_series(training),
        steps=len(training.losses) + 1,
    )


def _figures(training: Training) -> dict[str, Figure]:
    updates = training.first_updates.values()
    return {
        "parameters": len(training.parameters),
        "frozen": len(training.parameters) - len(training.trainable),
        "with a gradient": len(training.pulled),
        "in the optimizer": len(training.owned),
        "median first update by weights": statistics.median(updates) if updates else None,
        "largest first update by weights": max(updates, default=None),
    }


def _summary(training: Training) -> str:
    trainable = len(training.trainable)
    text = f"{len(training.pulled & training.owned)} of {trainable} trainable parameters learn"
    if not training.first_updates:
        return text
    updates = training.first_updates.values()
    return f"{text}; the first step moves matrices by {min(updates):.1g} to {max(updates):.1g} of their norm"


def _series(training: Training) -> Mapping[str, Series]:
    names = tuple(name for name in training.parameters if name in training.first_updates)
    if not names:
        return {}
    values = tuple(training.first_updates[name] for name in names)
    label, order = "first update by weights", "matrix, from input to output"
    return {"first update": Series(values, label, x_label=order, names=names)}


def _finding(
    subject: Subject,
    cause: str,
    path: str,
    message: str,
    treatment: str,
    severity: Severity,
    confidence: Confidence = Confidence.LIKELY,
) -> Finding:
    """A finding about a layer, at the line that makes it."""
    location, line = place_of(subject, path)
    return finding(
        "NDP08",
        message,
        treatment=treatment,
        severity=severity,
        confidence=confidence,
        location=location,
        source_line=line,
        measurements={"cause": cause, "parameter": path},
    )


# ---------------------------------------------------------------------------------------------- nothing learns


def _no_gradients(subject: Subject, training: Training) -> Iterator[Finding]:
    if training.has_graph and training.reached:
        return
    diagnosis = no_graph(subject)
    place = cut(subject, [])[1] if training.trainable else (None, None)
    yield finding(
        "NDP08",
        diagnosis.message,
        treatment=diagnosis.treatment,
        confidence=Confidence.CERTAIN,
        location=place[0] or subject.location,
        source_line=place[1] if place[0] else subject.source_line,
        measurements={"cause": diagnosis.cause},
    )


def _broken(subject: Subject, training: Training) -> Iterator[Finding]:
    """Half precision overflows now and then, which a gradient scaler catches."""
    if not training.broken or subject.amp is torch.float16:
        return
    step = len(training.losses) - 1
    with subject.sandbox():
        subject.model.train()
        bad = first_bad_operation(subject, subject.batches.first(1)[0], user_optimizer(subject), step)
    names = [name for name in training.parameters if name in training.broken]
    place = bad if bad and bad.location else subject
    yield finding(
        "NDP08",
        f"the gradient of {enumerated(names)} is not finite in step {step}" + (f": {bad.message}" if bad else ""),
        treatment="Keep roots, logarithms and divisions away from zero: add a small number inside of them, not behind.",
        confidence=Confidence.CERTAIN,
        location=place.location,
        source_line=place.source_line,
        measurements={"cause": "not finite", "parameter": names[0]},
    )


# ------------------------------------------------------------------------------------------- nothing that counts


def _alike(model: nn.Module, training: Training) -> list[str]:
    """Linear and convolutional layers whose units started alike, and still are."""
    candidates = training.owned & training.reached if not training.broken else set()
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd))
        and f"{path}.weight" in candidates
        and module.weight.shape[0] > 1
        and _stay_alike(training.starts[f"{path}.weight"], module.weight.detach())
    ]


def _stay_alike(start: Tensor, now: Tensor) -> bool:
    if not torch.equal(start, start[:1].expand_as(start)):
        return False
    moved, spread = float((now - start).abs().max()), float((now - now[:1]).abs().max())
    return spread <= ALIKE.value * moved


def _same_units(subject: Subject, training: Training, alike: list[str]) -> Iterator[Finding]:
    if alike:
        value = float(training.starts[f"{alike[0]}.weight"].flatten()[0])
        yield _finding(
            subject,
            "same units",
            alike[0],
            f"all units of {enumerated(alike)} start with the same weights, the first with {value:.3g}, and after "
            f"{len(training.losses)} steps they still are the same: the layer is as good as one unit",
            "Start the weights at random, for instance with nn.init.kaiming_uniform_; biases may start at one value.",
            Severity.ERROR,
            Confidence.CERTAIN,
        )


def _unpulled(subject: Subject, training: Training, alike: list[str]) -> Iterator[Finding]:
    """Layers whose gradient is exactly zero in every step; those with equal units are explained already."""
    still = [name for name in training.trainable if name in training.owned & training.reached - training.pulled]
    matrices = [name for name in still if training.parameters[name].ndim > 1]
    if alike or training.broken or not matrices:
        return
    paths = list(covering(subject.model, training.named(still)))
    first = next(path for path in paths if any(f"{name}.".startswith(f"{path}.") for name in matrices))
    yield _finding(
        subject,
        "zero gradient",
        first,
        f"the gradient of {enumerated(paths)} is exactly zero in each of {len(training.losses)} steps",
        "Look behind these layers for units that are all dead, a factor that starts at zero, a softmax over one "
        "element, a loss that is clipped.",
        Severity.WARNING,
    )


def _stalled(training: Training) -> dict[str, float]:
    """Half-precision weights with a gradient, and the share of their elements that moved in all steps."""
    shares = {
        name: float((parameter.detach() != training.starts[name]).float().mean())
        for name, parameter in training.parameters.items()
        if name in training.pulled & training.owned and parameter.dtype in HALF and parameter.ndim > 1
    }
    return shares if not training.broken else {}


def _lost_in_rounding(subject: Subject, training: Training, shares: dict[str, float]) -> Iterator[Finding]:
    if not shares or statistics.median(shares.values()) > STALLED.value:
        return
    first = min(shares, key=lambda name: shares[name])
    kind = str(training.parameters[first].dtype).removeprefix("torch.")
    yield _finding(
        subject,
        "lost in rounding",
        first,
        f"the weights are {kind}, and the updates are smaller than it can hold: after {len(training.losses)} steps "
        f"only {statistics.median(shares.values()):.0%} of them have moved",
        f"Keep the weights in float32 and compute in {kind} with torch.autocast.",
        Severity.WARNING,
    )


# ------------------------------------------------------------------------------------------------------- frozen


def _frozen_head(subject: Subject, training: Training) -> Iterator[Finding]:
    """The last layer is frozen with the values that it was drawn with, while layers in front of it are trained."""
    layers = [
        (path, module)
        for path, module in subject.model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd)) and path in training.in_training.seen
    ]
    if not layers or not training.reached:
        return
    path, head = layers[-1]
    if head.weight.requires_grad or not _is_fresh(head.weight):
        return
    yield _finding(
        subject,
        "frozen head",
        path,
        f"`{path}` is frozen at the random values that it was made with, and the layers in front of it are trained",
        f"Freeze the pretrained layers first and make `{path}` afterwards, or set its requires_grad to True.",
        Severity.WARNING,
    )


def _is_fresh(weight: Tensor) -> bool:
    """Whether the weights are distributed as torch initialises linear and convolutional layers."""
    if weight.numel() < FRESH_WEIGHTS:
        return False
    bound = math.sqrt(1 / weight[0].numel())
    largest = float(weight.detach().abs().max()) / bound
    deviation = float(weight.detach().float().std()) / (bound / math.sqrt(3))
    (low, high), (narrow, wide) = FRESH_LARGEST, FRESH_DEVIATION
    return low <= largest <= high and narrow <= deviation <= wide
