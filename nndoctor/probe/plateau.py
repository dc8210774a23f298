"""Why a model does not learn a few examples by heart: the causes, in the order in which they are looked for."""

from __future__ import annotations

import math

from torch import Tensor

from nndoctor.findings import Confidence
from nndoctor.probe.batch import clone
from nndoctor.probe.diagnosis import Diagnosis
from nndoctor.probe.fitting import adam, calm
from nndoctor.probe.floors import input_groups
from nndoctor.probe.loss_faults import no_graph, place_of_outputs
from nndoctor.probe.memorising import LEARNED, Attempt
from nndoctor.probe.operations import first_bad_operation
from nndoctor.probe.ranges import RELU, SOFTMAX
from nndoctor.probe.references import CLASS_TASKS, first_tensor
from nndoctor.probe.subject import Subject

# Figures that agree to this share are the same figure, reached in a finite number of steps.
SAME = 0.05
# Outputs that differ between examples by less than this share of their size are the same for all.
SAME_OUTPUTS = 1e-3
SHOWN = 3  # parameters that a message names


def diagnose_floor(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A floor that follows from the outputs' range or from equal inputs, and that the fit could not break."""
    if not attempt.start.is_measurable:
        return None
    return _confined(subject, attempt) or _equal_inputs(attempt)


def diagnose_fit(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """What the fit itself shows: NaN, no gradient, outputs without inputs; the least certain last."""
    return (
        _broken(subject, attempt)
        or _no_gradient(subject, attempt)
        or _inputs_ignored(attempt)
        or _dead_outputs(subject, attempt)
        or _stuck(attempt)
    )


def _confined(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A softmax, sigmoid, tanh or ReLU on the outputs that gives this loss a floor of its own."""
    start, floor = attempt.start, attempt.start.floors.of_range
    if floor is None or not _explains(floor, attempt):
        return None
    name = start.confined.name
    twice = name == SOFTMAX  # only counted where the loss applies one too
    place, line = place_of_outputs(subject, attempt.start)
    return Diagnosis(
        "softmax twice" if twice else f"{name} on the outputs",
        f"the outputs come from a {name}, and with them this loss cannot fall below {floor:.4g}"
        + (f"{_softmax_twice_formula(subject, floor)}; the loss applies a softmax of its own" if twice else ""),
        f"Return the values from before the {name}; apply it where you predict.",
        Confidence.CERTAIN,
        place,
        line,
    )


def _explains(floor: float, attempt: Attempt) -> bool:
    """Whether the floor is well above that of free outputs, and no fit went below it."""
    reached = attempt.best.curve.best
    return attempt.start.gap(floor) > LEARNED.value and (not math.isfinite(reached) or reached > floor * (1 - SAME))


def _softmax_twice_formula(subject: Subject, floor: float) -> str:
    classes = subject.task.classes
    if subject.task.kind not in CLASS_TASKS or not classes:
        return ""
    known = math.log(math.e + classes - 1) - 1
    return f" (log(e + {classes} - 1) - 1)" if math.isclose(known, floor, rel_tol=0.01) else ""


def _equal_inputs(attempt: Attempt) -> Diagnosis | None:
    """Examples with the same input and different targets, far more than chance would bring."""
    start, floor = attempt.start, attempt.start.floors.of_equal_inputs
    groups = input_groups(start.split, start.examples)
    if floor is None or groups is None or not _explains(floor, attempt):
        return None
    return Diagnosis(
        "equal inputs",
        f"only {int(groups.max()) + 1} of {start.examples} inputs are different while their targets differ: the loss "
        f"cannot fall below {floor:.4g}",
        "Look at what the data set returns for different indices, and at what the transforms leave of an input.",
        Confidence.CERTAIN,
    )


def _broken(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A loss that is NaN or infinite at every rate."""
    if any(fit.curve.broken_at is None for fit in attempt.fits):
        return None
    gentlest = min(attempt.fits, key=lambda fit: fit.curve.rate)
    step = gentlest.curve.broken_at or 0
    with subject.sandbox():
        calm(subject.model)
        found = first_bad_operation(subject, clone(attempt.start.batch), adam(subject.model, gentlest.curve.rate), step)
    return Diagnosis(
        "not finite",
        f"the loss is {gentlest.curve.final} at step {step}" + (f": {found.message}" if found else ""),
        "Keep roots, logarithms and divisions away from zero: add a small number inside of them, not behind.",
        Confidence.CERTAIN,
        found.location if found else None,
        found.source_line if found else None,
    )


def _no_gradient(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    if attempt.best.cut:
        return no_graph(subject)
    if len(attempt.best.idle) < attempt.best.trainable or _whole_batch_has_gradient(subject):
        return None
    return Diagnosis(
        "zero gradient",
        f"the gradient of all {attempt.best.trainable} trainable parameters is exactly zero",
        "Look for weights that all start at zero, units that are all dead or saturated, a loss that is clipped.",
        Confidence.CERTAIN,
    )


def _whole_batch_has_gradient(subject: Subject) -> bool:
    """Whether units that are dead for a few examples are alive for others."""
    with subject.sandbox():
        calm(subject.model)
        subject.model.zero_grad()
        loss, _ = subject.compute_loss(subject.model, subject.batches.first(1)[0])
        loss.backward()  # type: ignore[no-untyped-call]
        return any(parameter.grad is not None and parameter.grad.any() for parameter in subject.model.parameters())


def _inputs_ignored(attempt: Attempt) -> Diagnosis | None:
    """After every fit the outputs are the same for all examples: the last bias moves and nothing else."""
    groups = input_groups(attempt.start.split, attempt.start.examples)
    alike = groups is None or not bool(groups.max())
    if alike or not attempt.in_time or not all(_same_for_all(fit.output) for fit in attempt.fits):
        return None
    return Diagnosis(
        "only the bias learns",
        f"only the last bias learns, the outputs are the same for every example{_cut(attempt)}",
        "Find where the inputs are lost: weights that all start at zero or at one value, dead units, a `detach`.",
        Confidence.CERTAIN,
    )


def _dead_outputs(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A ReLU on the logits has closed for classes that the examples have, and no gradient opens it again."""
    labels, output = first_tensor(attempt.start.split.targets), attempt.best.output
    if attempt.start.confined.name != RELU or subject.task.kind not in CLASS_TASKS or output is None or labels is None:
        return None
    units = output.detach().movedim(subject.task.class_dim, 0).flatten(1)
    dead = sorted(set((~units.any(dim=1)).nonzero().flatten().tolist()) & set(labels.flatten().tolist()))
    if not dead:
        return None
    place, line = place_of_outputs(subject, attempt.start)
    named = ", ".join(str(unit) for unit in dead[:SHOWN]) + (", ..." if len(dead) > SHOWN else "")
    return Diagnosis(
        "dead outputs",
        f"the outputs come from a ReLU, and those of class {named} are 0 for every example: no gradient gets through",
        "Return the values from before the ReLU: logits must be free to be negative.",
        Confidence.CERTAIN,
        place,
        line,
    )


def _stuck(attempt: Attempt) -> Diagnosis | None:
    """A plateau at a known height, with most parameters out of the graph: nothing is learned, or the last bias."""
    known, reached, fit = attempt.start.references, attempt.best.curve.best, attempt.best
    if 2 * len(fit.idle) < fit.trainable:
        return None
    if _near(reached, known.prior, attempt):
        height = f"that is the loss of the best constant output, {known.prior:.4g}; only the last bias learns"
        cause = "only the bias learns"
    elif _near(reached, known.zero, attempt):
        height, cause = f"that is the loss of zero outputs, {known.zero:.4g}; nothing is learned", "no signal"
    else:
        return None
    return Diagnosis(
        cause,
        height + _cut(attempt),
        "Find what cuts the parameters off: a `detach` in forward, dead units, weights that start at zero.",
    )


def _cut(attempt: Attempt) -> str:
    """Which parameters get no gradient, for the end of a message."""
    idle = attempt.best.idle
    if not idle:
        return ""
    names = ", ".join(f"`{name}`" for name in idle[:SHOWN]) + (", ..." if len(idle) > SHOWN else "")
    return f"; {len(idle)} of {attempt.best.trainable} parameters get no gradient ({names})"


def _same_for_all(output: Tensor | None) -> bool:
    if output is None or output.shape[0] < 2:
        return False
    values = output.detach().float()
    return bool((values - values[:1]).abs().max() <= SAME_OUTPUTS * values.abs().max().clamp_min(1e-12))


def _near(loss: float, reference: float | None, attempt: Attempt) -> bool:
    return reference is not None and abs(attempt.start.gap(loss) - attempt.start.gap(reference)) < SAME
