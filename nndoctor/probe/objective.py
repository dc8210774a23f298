"""Which loss is measured: the step's, the user's, the model's own, the script's, or what outputs and targets imply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import Batch, children, leaves
from nndoctor.probe.blame import describe_error, place_of_definition, raised_at
from nndoctor.probe.criteria import Criterion, known_criteria
from nndoctor.probe.entrypoint import call_factory, required_parameters
from nndoctor.probe.errors import EntrypointError, NotApplicableError, SubjectError
from nndoctor.probe.outputs import are_logarithms, lies_in_unit_interval, main_tensor, own_loss
from nndoctor.probe.scripted import ScriptedLoss
from nndoctor.probe.subject import Objective, Split, Task

# A known loss is the model's own if both agree to this share: float32 sums in another order differ by less.
SAME_LOSS = 1e-4
# Losses of torch that take outputs which the script may have normalised behind the model.
LOSSES_OF_LOGARITHMS = frozenset({"NLLLoss", "nll_loss", "KLDivLoss", "kl_div"})
LOSSES_OF_PROBABILITIES = frozenset({"BCELoss", "binary_cross_entropy"})
PLAIN_WAYS = frozenset({"outputs and targets", "main output and targets"})  # not worth a word in the report
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
    if callable(training_step := getattr(model, "training_step", None)):
        return _from_step(model, batch, split, lambda _, part: training_step(part, 0), "the model's training_step")
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
        raise SubjectError(f"the step failed{raised_at(error)}: {describe_error(error)}") from error
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


Arguments = Callable[[Any, Split], tuple[Any, ...]]
"""What the loss is called with, made of the outputs and the split batch."""


def _ways(loss: Any) -> Iterator[tuple[str, Arguments]]:
    """How training loops call a loss, the plainest first."""
    called = loss.forward if isinstance(loss, nn.Module) else loss
    if len(required_parameters(called)) == 1:
        yield "the outputs", lambda outputs, _: (outputs,)
        yield "the main output", lambda outputs, _: (main_tensor(outputs),)
    yield "outputs and targets", _as_they_are
    yield "main output and targets", lambda outputs, split: (main_tensor(outputs), _targets(split))
    yield "outputs and targets, both flattened over positions", _flattened
    yield "outputs with their classes second, and targets", _classes_second


def _as_they_are(outputs: Any, split: Split) -> tuple[Any, ...]:
    return outputs, _targets(split)


def _targets(split: Split) -> Any:
    """The targets; for a batch without any, what the model was given (an autoencoder)."""
    if split.targets is not None:
        return split.targets
    return split.args[0] if split.args else next(iter(split.kwargs.values()))


def _flattened(outputs: Any, split: Split) -> tuple[Any, ...]:
    output, target = main_tensor(outputs), _targets(split)
    return output.flatten(0, -2), target.flatten()


def _classes_second(outputs: Any, split: Split) -> tuple[Any, ...]:
    return main_tensor(outputs).movedim(-1, 1), _targets(split)


def _from_loss(model: nn.Module, batch: Batch, split: Splitting, loss: Any) -> Found:
    parts = split(batch)
    outputs = _call(model, parts)
    way, arguments = _way_that_works(loss, outputs, parts, _ways(loss))
    name = f"`{getattr(loss, '__name__', type(loss).__name__)}`, called with {way}"
    return _applied(name, loss, arguments, outputs, split, batch)


def _applied(name: str, loss: Any, arguments: Arguments, outputs: Any, split: Splitting, batch: Batch) -> Found:
    """The loss as it is called with the outputs of the first batch."""
    parts = split(batch)

    def compute(module: nn.Module, part: Batch) -> tuple[Tensor, Any]:
        pieces = split(part)
        returned = _call(module, pieces)
        return as_scalar(loss(*arguments(returned, pieces))), returned

    known = recognise(as_scalar(loss(*arguments(outputs, parts))), outputs, parts)
    plain = isinstance(outputs, Tensor) or arguments is not _as_they_are
    criterion = (lambda output, pieces: as_scalar(loss(*arguments(output, pieces)))) if plain else known
    task = known.task if known else _likely_task(outputs, parts)
    return Found(_objective(_named(name, known), compute, criterion, loss), task)


def _from_script(outputs: Any, split: Splitting, batch: Batch, scripted: ScriptedLoss) -> Found:
    """The loss that the scan found where it fits outputs and targets, else the one that they imply."""
    parts = split(batch)
    reason = _missing_link(scripted, outputs)
    try:
        loss = scripted.make()
        way, arguments = _way_that_works(loss, outputs, parts, _ways_in_scripts(loss, outputs, parts))
    except Exception:  # the script does something to the outputs or the targets that the scan does not tell
        reason = reason or f"it does not fit outputs {_shapes(outputs)} and targets {_shapes(parts.targets)}"
    if reason:
        return replace(_inferred(outputs, split, batch), remark=f"not {scripted.origin}: {reason}")
    called = "" if way in PLAIN_WAYS else f", called with {way}"
    found = _applied(scripted.origin + called, loss, arguments, outputs, split, batch)
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


def _ways_in_scripts(loss: Any, outputs: Any, parts: Split) -> Iterator[tuple[str, Arguments]]:
    """As scripts call a loss: what has the size of the outputs is compared element by element, never broadcast."""
    output, target = main_tensor(outputs), _targets(parts)
    if isinstance(target, Tensor) and target.numel() == output.numel() and target.shape[:1] == output.shape[:1]:
        same = target.shape == output.shape and target.is_floating_point()
        yield "main output and targets" if same else "targets in the shape and type of the outputs", _brought_alike
    elif isinstance(target, Tensor) and target.is_floating_point():
        raise SubjectError(f"targets {_shapes(target)} do not have the shape of the outputs {_shapes(output)}")
    else:
        yield from _ways(loss)


def _brought_alike(outputs: Any, split: Split) -> tuple[Any, ...]:
    output = main_tensor(outputs)
    return output, _targets(split).reshape(output.shape).to(output.dtype)


def _way_that_works(
    loss: Any, outputs: Any, parts: Split, ways: Iterator[tuple[str, Arguments]]
) -> tuple[str, Arguments]:
    first_error: Exception | None = None
    for way, arguments in ways:
        try:
            as_scalar(loss(*arguments(outputs, parts)))
        except Exception as error:  # whatever the user's loss raises for a wrong call
            first_error = first_error or error
        else:
            return way, arguments
    assert first_error is not None, "every loss has a way to be tried"
    raise SubjectError(
        f"the loss failed{raised_at(first_error)}: {describe_error(first_error)}; outputs {_shapes(outputs)}, "
        f"targets {_shapes(parts.targets)}"
    ) from first_error


def _shapes(value: Any) -> str:
    described = [f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}" for _, tensor in leaves(value)]
    return ", ".join(described) or "none"


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

    reason = f"outputs are {_shapes(main_tensor(outputs))}, targets {_shapes(split(batch).targets)}"
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


def as_scalar(value: Any) -> Tensor:
    """The loss as one number; a loss that comes with figures to log is found among them, one per example averaged."""
    loss = value if isinstance(value, Tensor) else own_loss(value)
    if loss is None and children(value):
        loss = next((tensor for _, tensor in leaves(value) if tensor.ndim == 0 and tensor.requires_grad), None)
    if loss is None:
        raise TypeError(f"the loss is no tensor but {type(value).__name__}")
    return loss.mean() if loss.ndim else loss
