"""Which loss is measured: the step's, the user's, the model's own, the script's, or what outputs and targets imply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import Batch, shapes
from nndoctor.probe.blame import describe_error, place_of_definition, raised_at
from nndoctor.probe.calling import PLAIN_WAYS, Way, way_that_works, ways, ways_in_scripts
from nndoctor.probe.criteria import Criterion, known_criteria
from nndoctor.probe.entrypoint import call_factory, required_parameters
from nndoctor.probe.errors import EntrypointError, NotApplicableError, SubjectError
from nndoctor.probe.outputs import are_logarithms, as_scalar, lies_in_unit_interval, main_tensor, own_loss
from nndoctor.probe.scripted import ScriptedLoss
from nndoctor.probe.subject import Objective, Split, Task

# A known loss is the model's own if both agree to this share: float32 sums in another order differ by less.
SAME_LOSS = 1e-4
# Losses of torch that take outputs which the script may have normalised behind the model.
LOSSES_OF_LOGARITHMS = frozenset({"NLLLoss", "nll_loss", "KLDivLoss", "kl_div"})
LOSSES_OF_PROBABILITIES = frozenset({"BCELoss", "binary_cross_entropy"})
WITHOUT_TRAINER = "no trainer is at work here: give the loss with --step, as a function step(model, batch)"
Splitting = Callable[[Batch], Split]
Step = Callable[[nn.Module, Batch], Any]
Compute = Callable[[nn.Module, Batch], tuple[Tensor, Any]]
LookUp = Callable[[], ScriptedLoss | None]
"""Reads the loss from the user's script; called only where nothing else tells it."""


@dataclass(frozen=True, slots=True)
class Found:
    """The objective, None if no loss was found, and what it says about the task."""

    objective: Objective | None
    task: Task
    remark: str = ""  # on a loss that was found and could not be used


def find_objective(
    model: nn.Module,
    batch: Batch,
    split: Splitting,
    loss: Any = None,
    step: Step | None = None,
    look_up: LookUp = lambda: None,
) -> Found:
    """Try the sources of a loss in their order; runs the model with gradients, the caller keeps it in a sandbox."""
    if step is not None:
        return _from_step(model, batch, split, step, "computed by the step that was given with --step")
    if loss is not None:
        return _from_loss(model, batch, split, _as_function(loss))
    if callable(getattr(model, "training_step", None)):
        return _from_training_step(model, batch, split)
    outputs = _call(model, split(batch))
    if own_loss(outputs) is not None:
        return _from_model(outputs, split, batch)
    if (scripted := look_up()) is not None:
        return _from_script(outputs, split, batch, scripted)
    return _inferred(outputs, split, batch)


def _call(model: nn.Module, split: Split) -> Any:
    return model(*split.args, **split.kwargs)


def _from_step(model: nn.Module, batch: Batch, split: Splitting, step: Step, origin: str) -> Found:
    def compute(module: nn.Module, part: Batch) -> tuple[Tensor, Any]:
        seen: list[Any] = []
        hook = module.register_forward_hook(lambda _, __, outputs: seen.append(outputs))
        try:
            value = step(module, part)
        finally:
            hook.remove()
        return as_scalar(value), seen[-1] if seen else None

    loss, outputs = _first_loss(model, batch, compute)
    known = recognise(loss, outputs, split(batch))
    return Found(_objective(_named(origin, known), compute, known, step), known.task if known else Task())


def _from_training_step(model: nn.Module, batch: Batch, split: Splitting) -> Found:
    """As a LightningModule has it; the framework calls it with the batch and, if it takes that too, its number."""
    if not getattr(model, "automatic_optimization", True):
        raise SubjectError(f"the model optimises by hand (automatic_optimization = False); {WITHOUT_TRAINER}")
    takes_number = len(required_parameters(model.training_step)) > 1  # type: ignore[arg-type]

    def step(module: nn.Module, part: Batch) -> Any:
        arguments = (part, 0) if takes_number else (part,)
        return module.training_step(*arguments)  # type: ignore[operator]

    try:
        return _from_step(model, batch, split, step, "the model's training_step")
    except SubjectError as error:
        text = str(error).replace("the step", "the model's training_step", 1)
        raise SubjectError(f"{text}; {WITHOUT_TRAINER}") from error


def _objective(origin: str, compute: Compute, criterion: Any, holder: Any) -> Objective:
    """With the place where the user's loss or step is written."""
    place, line = place_of_definition(holder, type(holder)) or (None, None)
    return Objective(origin, compute, criterion, holder, place, line)


def _first_loss(model: nn.Module, batch: Batch, compute: Compute) -> tuple[Tensor, Any]:
    """Run the step once and see that it is one; raises SubjectError if it fails, or optimises by itself."""
    versions = [parameter._version for parameter in model.parameters()]
    try:
        loss, outputs = compute(model, batch)
    except Exception as error:
        called = "" if raised_at(error) else "; it is called with the model and a batch"
        raise SubjectError(f"the step failed{raised_at(error)}: {describe_error(error)}{called}") from error
    if versions != [parameter._version for parameter in model.parameters()]:
        raise SubjectError("the step changes the weights: it must return the loss and leave optimizer.step() out")
    if any(parameter.grad is not None for parameter in model.parameters()):
        raise SubjectError("the step calls backward: it must return the loss and leave backward() out")
    return loss, outputs


def _as_function(loss: Any) -> Any:
    """The loss as something to call with outputs and targets: a class is made, a factory without arguments called."""
    if isinstance(loss, nn.Module):
        return loss
    if isinstance(loss, type) or (callable(loss) and not required_parameters(loss) and not _is_builtin(loss)):
        loss = call_factory(loss, getattr(loss, "__name__", "the loss"))
    if not callable(loss):
        raise EntrypointError(
            f"--loss names an object of type {type(loss).__name__}: it must be called with outputs and targets"
        )
    return loss


def _is_builtin(function: Any) -> bool:
    return type(function).__name__ == "builtin_function_or_method"


def _from_loss(model: nn.Module, batch: Batch, split: Splitting, loss: Any) -> Found:
    parts = split(batch)
    outputs = _call(model, parts)
    way = way_that_works(loss, outputs, parts, ways(loss, outputs, parts))
    name = f"`{getattr(loss, '__name__', type(loss).__name__)}`, called with {way.name}"
    return _applied(name, loss, way, outputs, split, batch)


def _applied(name: str, loss: Any, way: Way, outputs: Any, split: Splitting, batch: Batch) -> Found:
    """The loss as it is called with the outputs of the first batch."""
    parts = split(batch)

    def compute(module: nn.Module, part: Batch) -> tuple[Tensor, Any]:
        pieces = split(part)
        returned = _call(module, pieces)
        return as_scalar(loss(*way.arguments(returned, pieces))), returned

    known = recognise(as_scalar(loss(*way.arguments(outputs, parts))), outputs, parts)
    plain = isinstance(outputs, Tensor) or way.takes_main
    criterion = (lambda output, pieces: as_scalar(loss(*way.arguments(output, pieces)))) if plain else known
    task = known.task if known else _likely_task(outputs, parts)
    return Found(_objective(_named(name, known), compute, criterion, loss), task)


def _from_script(outputs: Any, split: Splitting, batch: Batch, scripted: ScriptedLoss) -> Found:
    """The loss that the scan found where it fits outputs and targets, else the one that they imply."""
    parts = split(batch)
    reason = _missing_link(scripted, outputs)
    try:
        loss = scripted.make()
        way = way_that_works(loss, outputs, parts, ways_in_scripts(loss, outputs, parts))
    except Exception:  # the script does something to the outputs or the targets that the scan does not tell
        reason = reason or f"it does not fit outputs {shapes(outputs)} and targets {shapes(parts.targets)}"
    if reason:
        return replace(_inferred(outputs, split, batch), remark=f"not {scripted.origin}: {reason}")
    called = "" if way.name in PLAIN_WAYS else f", called with {way.name}"
    found = _applied(scripted.origin + called, loss, way, outputs, split, batch)
    assert found.objective is not None, "a loss that was applied is one"
    place = replace(found.objective, location=scripted.location, source_line=scripted.source_line)
    return replace(found, objective=place)


def _missing_link(scripted: ScriptedLoss, outputs: Any) -> str | None:
    """What the script probably applies to the outputs before it gives them to the loss."""
    try:
        output = main_tensor(outputs)
    except NotApplicableError:
        return None
    normalised = any(are_logarithms(output, dim) for dim in {1 % output.ndim, -1})
    if scripted.name in LOSSES_OF_LOGARITHMS and not normalised and scripted.takes_logarithms:
        return "the model's outputs are no log-probabilities"
    if scripted.name in LOSSES_OF_PROBABILITIES and not lies_in_unit_interval(output):
        return "the model's outputs are no probabilities"
    return None


def _from_model(outputs: Any, split: Splitting, batch: Batch) -> Found:
    def compute(module: nn.Module, part: Batch) -> tuple[Tensor, Any]:
        returned = _call(module, split(part))
        value = own_loss(returned)
        if value is None:
            raise SubjectError("the model returned a loss for the first batch and none for a later one")
        return value, returned

    value = own_loss(outputs)
    assert value is not None, "the caller has seen it"
    known = recognise(value, outputs, split(batch))
    return Found(Objective(_named("the model's own", known), compute, known), known.task if known else Task())


def _inferred(outputs: Any, split: Splitting, batch: Batch) -> Found:
    known = _likeliest(outputs, split(batch))
    if known is None:
        return Found(None, Task())

    def compute(module: nn.Module, part: Batch) -> tuple[Tensor, Any]:
        pieces = split(part)
        returned = _call(module, pieces)
        return known(main_tensor(returned), pieces), returned

    reason = f"outputs are {shapes(main_tensor(outputs))}, targets {shapes(split(batch).targets)}"
    return Found(Objective(f"{known.name}, inferred: {reason}", compute, known), known.task)


def _likeliest(outputs: Any, parts: Split) -> Criterion | None:
    try:
        return next(known_criteria(main_tensor(outputs), parts), None)
    except NotApplicableError:
        return None


def _likely_task(outputs: Any, parts: Split) -> Task:
    try:
        known = _likeliest(outputs, parts)
    except SubjectError:
        return Task()
    return known.task if known else Task()


def recognise(loss: Tensor, outputs: Any, parts: Split) -> Criterion | None:
    """The known loss that gives this value for these outputs, None if it is none of them."""
    try:
        criteria = list(known_criteria(main_tensor(outputs), parts))
    except (NotApplicableError, SubjectError):
        return None
    with torch.no_grad():
        for criterion in criteria:
            if torch.isclose(criterion(main_tensor(outputs), parts).float(), loss.float(), rtol=SAME_LOSS, atol=1e-7):
                return criterion
    return None


def _named(origin: str, known: Criterion | None) -> str:
    return f"{origin} ({known.name})" if known else origin
