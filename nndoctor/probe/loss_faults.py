"""What is wrong with a loss before any step: no graph, broadcast shapes, a softmax too many or too few, the sign."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from nndoctor.findings import Confidence
from nndoctor.probe.batch import clone, tensors
from nndoctor.probe.criteria import WITH_LOGITS, Criterion, known_criteria, squeezed
from nndoctor.probe.diagnosis import Diagnosis
from nndoctor.probe.errors import SubjectError
from nndoctor.probe.fitting import calm
from nndoctor.probe.floors import lowest_loss
from nndoctor.probe.memorising import Start
from nndoctor.probe.operations import Place, line_before_loss, line_of_outputs
from nndoctor.probe.outputs import are_logarithms, are_probabilities
from nndoctor.probe.ranges import SOFTMAX
from nndoctor.probe.references import CLASS_TASKS
from nndoctor.probe.subject import Split, Subject, TaskKind


def diagnose_start(subject: Subject, start: Start) -> Diagnosis | None:
    """What is wrong before any step: no graph, shapes that broadcast, a loss that rewards wrong answers."""
    if not start.learnable:
        return no_graph(subject)
    return (
        _broadcast(subject, start)
        or _wrong_dimension(subject, start)
        or _normalised(subject, start)
        or _wrong_sign(subject, start)
    )


def no_graph(subject: Subject) -> Diagnosis:
    """Nothing can be trained: all is frozen, or the loss is no function of the parameters."""
    trainable = sum(parameter.requires_grad for parameter in subject.model.parameters())
    cause = "no gradient" if trainable else "everything frozen"
    if not trainable:
        message = "no parameter of the model is trainable"
        treatment = "Set `requires_grad_(True)` on what shall be trained."
    else:
        message = f"none of the {trainable} trainable parameters gets a gradient: the loss is cut from the model"
        treatment = (
            "Look between model and loss for `detach`, `.data`, `.item()`, NumPy, `torch.tensor`, argmax, `no_grad`."
        )
    return Diagnosis(cause, message, treatment, Confidence.CERTAIN)


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
    criterion = subject.criterion
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


def _wrong_dimension(subject: Subject, start: Start) -> Diagnosis | None:
    """Outputs that are probabilities, or their logarithms, along another dimension than that of the classes."""
    output = start.output
    if output is None or output.ndim < 2 or subject.task.kind not in CLASS_TASKS:
        return None
    classes = subject.task.class_dim % output.ndim
    sums_to_one = [dim for dim in range(output.ndim) if output.shape[dim] > 1 and _are_normalised(output, dim)]
    if not sums_to_one or classes in sums_to_one:
        return None
    place, line = place_of_outputs(subject, start)
    return Diagnosis(
        "softmax over the wrong dimension",
        f"outputs of shape {tuple(output.shape)} are probabilities over dimension {sums_to_one[0]}, and the classes "
        f"are in dimension {classes}",
        f"Take the softmax over the classes: dim={classes} in place of dim={sums_to_one[0]}.",
        Confidence.CERTAIN,
        place,
        line,
    )


def _are_normalised(output: Tensor, dim: int) -> bool:
    return are_probabilities(output, dim) or are_logarithms(output, dim)


def place_of_outputs(subject: Subject, start: Start) -> Place:
    """Where the last operation that gave the outputs is written."""
    with subject.sandbox():
        calm(subject.model)
        return line_of_outputs(subject, clone(start.batch))


def _normalised(subject: Subject, start: Start) -> Diagnosis | None:
    """A softmax or sigmoid inside the user's loss or step in front of a loss that applies it itself, or none at all."""
    output, measured = start.output, start.references.initial
    if output is None:
        return None
    criteria = _known_criteria(output, start.split)
    if any(math.isclose(float(known(output, start.split)), measured, rel_tol=1e-4) for known in criteria):
        return None
    for known in criteria:
        link, name = _normaliser(known)
        if link is None:
            continue
        if not start.confined.name and math.isclose(float(known(link(output), start.split)), measured, rel_tol=1e-5):
            twice = _at_loss(
                subject,
                f"{name} twice",
                f"the loss is the {known.name} of the outputs' {name}: the {name} is applied twice",
                f"Give the loss the outputs as they are; it applies the {name} itself.",
            )
            with subject.sandbox():
                calm(subject.model)
                place, line = line_before_loss(subject, clone(start.batch), name)
            return replace(twice, location=place, source_line=line) if place else twice
        if name == SOFTMAX and math.isclose(_mean_negative(known, output, start.split), measured, rel_tol=1e-5):
            return _at_loss(
                subject,
                "no log-softmax",
                "the loss is the mean negative output of the right class: it takes log-probabilities, and gets "
                + ("probabilities" if start.confined.name == SOFTMAX else "logits"),
                "Use `CrossEntropyLoss` on the logits, or return `log_softmax(logits, dim=1)` for `NLLLoss`.",
            )
    return None


def _mean_negative(known: Criterion, output: Tensor, split: Split) -> float:
    """What NLLLoss gives for outputs that are no logarithms."""
    labels = known.find(split).reshape(-1).long()
    rows = output.movedim(known.task.class_dim, -1).reshape(-1, output.shape[known.task.class_dim])
    counted = (labels >= 0) & (labels < rows.shape[1])
    if labels.shape[0] != rows.shape[0]:
        return math.nan
    return -float(rows[counted].gather(1, labels[counted, None]).mean())


def _known_criteria(output: Tensor, split: Split) -> list[Criterion]:
    try:
        return list(known_criteria(output, split))
    except SubjectError:
        return []


def _normaliser(known: Criterion) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """What the known loss applies to its input."""
    if known.task.kind in CLASS_TASKS:
        return (lambda output: output.softmax(known.task.class_dim)), SOFTMAX
    if known.name == WITH_LOGITS:
        return torch.sigmoid, "sigmoid"
    return None, ""


def _wrong_sign(subject: Subject, start: Start) -> Diagnosis | None:
    """The loss has no floor and its negative has one, as only the negative of a loss does."""
    criterion = subject.criterion
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
