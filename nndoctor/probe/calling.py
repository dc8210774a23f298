"""Calling: the ways in which training loops call a loss with outputs and targets, and the first that works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nndoctor.probe.batch import children, shapes
from nndoctor.probe.blame import describe_error, raised_at
from nndoctor.probe.entrypoint import required_parameters
from nndoctor.probe.errors import SubjectError
from nndoctor.probe.outputs import as_scalar, main_tensor
from nndoctor.probe.splitting import is_target_name
from nndoctor.probe.subject import Split

PLAIN_WAYS = frozenset({"outputs and targets", "main output and targets"})  # not worth a word in the report


@dataclass(frozen=True, slots=True)
class Way:
    """What a loss is called with, made of the outputs and the split batch."""

    name: str
    arguments: Callable[[Any, Split], tuple[Any, ...]]
    takes_main: bool = True  # of the outputs only the main tensor, which a probe may replace


def ways(loss: Any, outputs: Any, split: Split) -> Iterator[Way]:
    """How training loops call a loss, the plainest first."""
    required = required_parameters(loss.forward if isinstance(loss, nn.Module) else loss)
    if len(required) == 1:
        yield Way("the outputs", lambda outputs, _: (outputs,), takes_main=False)
        yield Way("the main output", lambda outputs, _: (main_tensor(outputs),))
    yield Way("outputs and targets", lambda outputs, split: (outputs, _targets(split)), takes_main=False)
    yield Way("main output and targets", lambda outputs, split: (main_tensor(outputs), _targets(split)))
    if len(required) > 2:
        yield from _one_by_one(required, outputs, split)
    yield Way("outputs and targets, both flattened over positions", _flattened)
    yield Way("outputs with their classes second, and targets", _classes_second)
    if len(required) == 2:
        yield Way("outputs and the batch", lambda outputs, split: (outputs, split.batch), takes_main=False)


def _one_by_one(required: list[str], outputs: Any, split: Split) -> Iterator[Way]:
    """`loss(outputs, y1, y2)`, and `loss(recon, mu, logvar, x)` with the target where its name is in the signature."""
    several = _parts(_targets(split))
    if len(required) == 1 + len(several):
        yield Way("outputs and each target", lambda o, s: (o, *_parts(_targets(s))), takes_main=False)
        yield Way("main output and each target", lambda o, s: (main_tensor(o), *_parts(_targets(s))))
    if len(required) == len(_parts(outputs)) + 1:
        named = (place for place, name in enumerate(required) if is_target_name(name) or name == "x")
        at = next(named, len(required) - 1)
        yield Way("each output and the targets", lambda o, s: _inserted(_parts(o), at, _targets(s)), takes_main=False)


def _parts(value: Any) -> list[Any]:
    return [part for _, part in children(value) or [("", value)]]


def _inserted(values: list[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place:])


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


def ways_in_scripts(loss: Any, outputs: Any, split: Split) -> Iterator[Way]:
    """As scripts call a loss: what has the size of the outputs is compared element by element, never broadcast."""
    output, target = main_tensor(outputs), _targets(split)
    if isinstance(target, Tensor) and target.numel() == output.numel() and target.shape[:1] == output.shape[:1]:
        same = target.shape == output.shape and target.is_floating_point()
        name = "main output and targets" if same else "targets in the shape and type of the outputs"
        yield Way(name, _brought_alike)
    elif isinstance(target, Tensor) and target.is_floating_point():
        raise SubjectError(f"targets {shapes(target)} do not have the shape of the outputs {shapes(output)}")
    else:
        yield from ways(loss, outputs, split)


def _brought_alike(outputs: Any, split: Split) -> tuple[Any, ...]:
    output = main_tensor(outputs)
    return output, _targets(split).reshape(output.shape).to(output.dtype)


def way_that_works(loss: Any, outputs: Any, split: Split, candidates: Iterator[Way]) -> Way:
    """The first with which the loss gives a number; raises SubjectError with what the first of them raised."""
    first_error: Exception | None = None
    for way in candidates:
        try:
            as_scalar(loss(*way.arguments(outputs, split)))
        except Exception as error:  # whatever the user's loss raises for a wrong call
            first_error = first_error or error
        else:
            return way
    assert first_error is not None, "every loss has a way to be tried"
    raise SubjectError(
        f"the loss failed{raised_at(first_error)}: {describe_error(first_error)}; outputs {shapes(outputs)}, "
        f"targets {shapes(split.targets)}; if that is the wrong part, say which with --targets"
    ) from first_error
