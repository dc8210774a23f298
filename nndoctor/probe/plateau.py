"""Why a model does not learn a few examples by heart: the causes, in the order in which they are looked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Location
from nndoctor.probe.batch import clone, tensors
from nndoctor.probe.criteria import WITH_LOGITS, Criterion, known_criteria, squeezed
from nndoctor.probe.errors import SubjectError
from nndoctor.probe.fitting import adam, calm
from nndoctor.probe.floors import input_groups, lowest_loss
from nndoctor.probe.memorising import LEARNED, Attempt, Start
from nndoctor.probe.operations import first_bad_operation, line_of_outputs
from nndoctor.probe.ranges import SOFTMAX
from nndoctor.probe.references import CLASS_TASKS
from nndoctor.probe.subject import Split, Subject, TaskKind

# Figures that agree to this share are the same figure, reached in a finite number of steps.
SAME = 0.05
# Outputs that differ between examples by less than this share of their size are the same for all.
SAME_OUTPUTS = 1e-3
SHOWN = 3  # parameters that a message names


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause with what to say about it."""

    cause: str  # a few words, for machines
    message: str
    treatment: str
    confidence: Confidence = Confidence.LIKELY
    location: Location | None = None  # none: the model's
    source_line: str | None = None

    @property
    def is_certain(self) -> bool:
        """Whether the cause follows from what was measured, rather than from a fit that may only be slow."""
        return self.confidence is Confidence.CERTAIN


def diagnose_start(subject: Subject, start: Start) -> Diagnosis | None:
    """What is wrong before any step: no graph, shapes that broadcast, a loss that rewards wrong answers."""
    if not start.learnable:
        return _no_graph(subject)
    return _broadcast(subject, start) or _normalised_twice(subject, start) or _wrong_sign(subject, start)


def diagnose_floor(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A floor that follows from the outputs' range or from equal inputs, and that the fit could not break."""
    if not attempt.start.is_measurable:
        return None
    return _confined(subject, attempt) or _equal_inputs(subject, attempt)


def diagnose_fit(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """What the fit itself shows: NaN, no gradient, outputs without inputs; the least certain last."""
    return _broken(subject, attempt) or _no_gradient(subject, attempt) or _inputs_ignored(attempt) or _stuck(attempt)


def _criterion(subject: Subject) -> Callable[..., Tensor] | None:
    return subject.objective.criterion if subject.objective else None


def _at_loss(subject: Subject, cause: str, message: str, treatment: str) -> Diagnosis:
    objective = subject.objective
    place, line = (objective.location, objective.source_line) if objective else (None, None)
    return Diagnosis(cause, message, treatment, Confidence.CERTAIN, place, line)


def _broadcast(subject: Subject, start: Start) -> Diagnosis | None:
    """An elementwise loss of (N, 1) and (N,) compares each output with every target."""
    output = start.output
    target = next((t for t in tensors(start.split.targets) if output is not None and _alike_but_shape(output, t)), None)
    if output is None or target is None or not _depends_on_shape(subject, start, output, target):
        return None
    shape = tuple((output.detach() + target).shape)
    return _at_loss(
        subject,
        "broadcast shapes",
        f"outputs {tuple(output.shape)} and targets {tuple(target.shape)} are broadcast to {shape} in the loss: "
        "each output is compared with every target",
        "Bring both to one shape, for instance `outputs.view_as(targets)`.",
    )


def _alike_but_shape(output: Tensor, target: Tensor) -> bool:
    same_size = target.numel() == output.numel() and target.numel() > 1
    return same_size and target.shape != output.shape and squeezed(target) == squeezed(output)


def _depends_on_shape(subject: Subject, start: Start, output: Tensor, target: Tensor) -> bool:
    """Whether the loss of random outputs changes once they have the targets' shape; or is a known broadcast one."""
    criterion = _criterion(subject)
    noise = torch.randn_like(output)
    try:
        if criterion is None:
            return any(
                math.isclose(float(loss(output, target)), start.references.initial, rel_tol=1e-4)
                and not torch.isclose(loss(output, target), loss(output.view_as(target), target), rtol=1e-3)
                for loss in (_squared_error, _absolute_error)
            )
        as_is, reshaped = criterion(noise, start.split), criterion(noise.view_as(target), start.split)
    except (RuntimeError, ValueError, IndexError):  # the loss refuses one of the shapes: then nothing is hidden
        return False
    return not torch.isclose(as_is, reshaped, rtol=1e-3)


def _squared_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def _absolute_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().mean()


def _normalised_twice(subject: Subject, start: Start) -> Diagnosis | None:
    """A softmax or sigmoid inside the user's loss or step, in front of a loss that applies it itself."""
    output = start.output
    if output is None or start.confined.name:
        return None
    measured = torch.tensor(start.references.initial)
    for known in _known_criteria(output, start.split):
        link, name = _normaliser(known)
        if link is None:
            continue
        once, twice = known(output, start.split).cpu(), known(link(output), start.split).cpu()
        if torch.isclose(twice, measured, rtol=1e-5) and not torch.isclose(once, measured, rtol=1e-4):
            return _at_loss(
                subject,
                f"{name} twice",
                f"the loss is the {known.name} of the outputs' {name}: the {name} is applied twice",
                f"Give the loss the outputs as they are; it applies the {name} itself.",
            )
    return None


def _known_criteria(output: Tensor, split: Split) -> list[Criterion]:
    try:
        return list(known_criteria(output, split))
    except SubjectError:
        return []


def _normaliser(known: Criterion) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """What the known loss applies to its input."""
    if known.task.kind in CLASS_TASKS:
        return (lambda output: output.softmax(known.task.class_dim)), "softmax"
    if known.name == WITH_LOGITS:
        return torch.sigmoid, "sigmoid"
    return None, ""


def _wrong_sign(subject: Subject, start: Start) -> Diagnosis | None:
    """The loss has no floor and its negative has one, as only the negative of a loss does."""
    criterion = _criterion(subject)
    if criterion is None or start.output is None or start.floor != -math.inf or subject.task.kind is TaskKind.UNKNOWN:
        return None
    reversed_floor = lowest_loss(lambda output, split: -criterion(output, split), start.output, start.split)
    if reversed_floor is None or not math.isfinite(reversed_floor):
        return None
    return _at_loss(
        subject,
        "wrong sign",
        "the loss has the wrong sign: it falls without end as the outputs get worse, and its negative has a floor at "
        f"{reversed_floor:.3g}",
        "Take the negative of the loss, for instance of the log-probability of the right class.",
    )


def _confined(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """A softmax, sigmoid, tanh or ReLU on the outputs that gives this loss a floor of its own."""
    start, floor = attempt.start, attempt.start.floors.of_range
    if floor is None or not _explains(floor, attempt):
        return None
    name = start.confined.name
    twice = name == SOFTMAX  # only counted where the loss applies one too
    with subject.sandbox():
        calm(subject.model)
        place, line = line_of_outputs(subject, clone(start.batch))
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
    return attempt.start.gap(floor) > LEARNED and (not math.isfinite(reached) or reached > floor * (1 - SAME))


def _softmax_twice_formula(subject: Subject, floor: float) -> str:
    classes = subject.task.classes
    if subject.task.kind not in CLASS_TASKS or not classes:
        return ""
    known = math.log(math.e + classes - 1) - 1
    return f" (log(e + {classes} - 1) - 1)" if math.isclose(known, floor, rel_tol=0.01) else ""


def _equal_inputs(subject: Subject, attempt: Attempt) -> Diagnosis | None:
    """Examples with the same input and different targets: no model can tell them apart."""
    start, criterion = attempt.start, _criterion(subject)
    if criterion is None or start.output is None or start.output.shape[:1] != (start.examples,):
        return None
    groups = input_groups(start.split, start.examples)
    if groups is None or int(groups.max()) + 1 == start.examples:
        return None
    floor = lowest_loss(criterion, start.output, start.split, groups=groups)
    if floor is None or not _explains(floor, attempt):
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
        return _no_graph(subject)
    if len(attempt.best.idle) < attempt.best.trainable:
        return None
    return Diagnosis(
        "zero gradient",
        f"the gradient of all {attempt.best.trainable} trainable parameters is exactly zero",
        "Look for weights that all start at zero, units that are all dead or saturated, a loss that is clipped.",
        Confidence.CERTAIN,
    )


def _no_graph(subject: Subject) -> Diagnosis:
    trainable = sum(parameter.requires_grad for parameter in subject.model.parameters())
    if not trainable:
        message = "no parameter of the model is trainable"
        treatment = "Set `requires_grad_(True)` on what shall be trained."
    else:
        message = f"none of the {trainable} trainable parameters gets a gradient: the loss is cut from the model"
        treatment = (
            "Look between model and loss for `detach`, `.data`, `.item()`, NumPy, `torch.tensor`, argmax, `no_grad`."
        )
    return Diagnosis("no gradient", message, treatment, Confidence.CERTAIN)


def _inputs_ignored(attempt: Attempt) -> Diagnosis | None:
    """After every fit the outputs are the same for all examples: the last bias moves and nothing else."""
    groups = input_groups(attempt.start.split, attempt.start.examples)
    alike = groups is None or not bool(groups.max())
    if alike or not all(_same_for_all(fit.output) for fit in attempt.fits):
        return None
    return Diagnosis(
        "only the bias learns",
        f"only the last bias learns, the outputs are the same for every example{_cut(attempt)}",
        "Find where the inputs are lost: weights that all start at zero or at one value, dead units, a `detach`.",
        Confidence.CERTAIN,
    )


def _stuck(attempt: Attempt) -> Diagnosis | None:
    """The height of the plateau says what is learned: the last bias, or nothing; None where it is something."""
    known, reached = attempt.start.references, attempt.best.curve.best
    if _near(reached, known.prior, attempt):
        return Diagnosis(
            "only the bias learns",
            f"this is the loss of the best constant output, {known.prior:.4g}; the inputs are not used{_cut(attempt)}",
            "Find where the inputs are lost: dead units, inputs that hardly differ or do not belong to their targets.",
        )
    if _near(reached, known.zero, attempt):
        return Diagnosis(
            "no signal",
            f"this is the loss of zero outputs, {known.zero:.4g}; nothing is learned{_cut(attempt)}",
            "Look for a cut graph, dead units or weights that all start the same.",
        )
    return None


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
