"""Which parts of a batch the model is given and which the loss: read from the model's signature, then tried."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nndoctor.probe.batch import Batch, children, leaves, shapes
from nndoctor.probe.blame import describe_error, raised_at
from nndoctor.probe.errors import SubjectError
from nndoctor.probe.subject import Split

TARGET_NAMES = frozenset({"y", "label", "lbl", "target", "tgt", "gt", "truth", "answer", "class", "cls"})


@dataclass(frozen=True, slots=True)
class Splitter:
    """Paths into a batch; the empty path is the whole batch."""

    args: tuple[str, ...] = ()
    kwargs: Mapping[str, str] = field(default_factory=dict)  # parameter to path
    targets: tuple[str, ...] = ()

    def __call__(self, batch: Batch) -> Split:
        """The batch as model and loss see it."""
        targets = tuple(pick(batch, path) for path in self.targets)
        return Split(
            args=tuple(pick(batch, path) for path in self.args),
            kwargs={name: pick(batch, path) for name, path in self.kwargs.items()},
            targets=targets[0] if len(targets) == 1 else targets or None,
            batch=batch,
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths of everything that the model is given."""
        return (*self.args, *self.kwargs.values())

    def describe(self) -> str:
        """For the report's notes."""
        inputs, targets = ([_called(path) for path in paths] for paths in (self.inputs, self.targets))
        return f"input: {', '.join(inputs)}; target: {', '.join(targets) or 'none'}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model's forward can be called with."""

    positional: tuple[str, ...]
    required: tuple[str, ...]
    any_positional: bool = False
    any_keyword: bool = False

    def takes(self, count: int) -> bool:
        """Whether it can be called with that many positional arguments."""
        return len(self.required) <= count and (self.any_positional or count <= len(self.positional))


def find_splitter(model: nn.Module, batch: Batch, inputs: str | None, targets: str | None) -> Splitter:
    """The first reading of the batch with which the model runs; raises SubjectError if there is none.

    Runs the model; the caller keeps it in a sandbox.
    """
    signature = read_signature(model)
    told = parse_selector(targets, "--targets", batch) if targets else ()
    if inputs:
        paths = parse_selector(inputs, "--inputs", batch)
        by_name = {path.rpartition(".")[2]: path for path in paths}
        readings = [Splitter(kwargs=by_name)] if by_name.keys() <= set(signature.positional) else []
        readings.append(Splitter(args=paths))
        if not told:
            told = tuple(name for name, _ in children(batch) or [] if name not in paths)
    else:
        readings = list(proposals(signature, batch))
    if told:
        readings = _with_targets(readings, told)
    return _first_that_runs(model, batch, readings)


def _with_targets(readings: list[Splitter], told: tuple[str, ...]) -> list[Splitter]:
    """The readings with the user's targets; those that do not feed the targets to the model come first."""
    ordered = sorted(readings, key=lambda reading: bool(set(reading.args) & set(told)))
    return [Splitter(reading.args, reading.kwargs, told) for reading in ordered]


def proposals(signature: Signature, batch: Batch) -> Iterator[Splitter]:
    """The readings of a batch, likeliest first."""
    parts = children(batch)
    if parts is None:
        yield Splitter(args=("",), targets=("y",) if hasattr(batch, "y") else ())
        return
    names = [name for name, _ in parts]
    if all(name.isdigit() for name in names):
        yield from _unpacked(signature, parts)
        yield from _by_position(signature, names)
    else:
        yield from _by_name(signature, names)
    yield Splitter(args=("",), targets=tuple(name for name in names if is_target_name(name)))


def _by_name(signature: Signature, names: list[str]) -> Iterator[Splitter]:
    targets = tuple(name for name in names if is_target_name(name))
    accepted = {name: name for name in names if name in signature.positional or signature.any_keyword}
    rest = tuple(name for name in names if name not in accepted)
    if accepted and set(signature.required) <= accepted.keys():
        yield Splitter(kwargs=accepted, targets=targets or rest)
    inputs = [name for name in names if name not in targets]
    for count in (len(inputs), len(signature.required), 1):
        if inputs and signature.takes(count):
            yield Splitter(args=tuple(inputs[:count]), targets=targets or tuple(inputs[count:]))


def _by_position(signature: Signature, names: list[str]) -> Iterator[Splitter]:
    count, required = len(names), len(signature.required)
    everything = Splitter(args=tuple(names))
    parameter = signature.positional[count - 1] if count <= len(signature.positional) else ""
    if count > 1 and signature.takes(count) and is_target_name(parameter):
        yield Splitter(args=tuple(names), targets=(names[-1],))
    if count > 1 and signature.takes(count - 1):
        yield Splitter(args=tuple(names[:-1]), targets=(names[-1],))
    if 0 < required < count:
        yield Splitter(args=tuple(names[:required]), targets=tuple(names[required:]))
    if signature.takes(count):
        yield everything
    if count == 2:
        yield Splitter(args=(names[1],), targets=(names[0],))


def _unpacked(signature: Signature, parts: list[tuple[str, Any]]) -> Iterator[Splitter]:
    """`((x1, x2), y)` or `({"ids": ..., "mask": ...}, y)` for a model that takes the inner parts one by one."""
    inner = [name for name, _ in children(parts[0][1]) or []]
    targets = tuple(name for name, _ in parts[1:])
    if inner and set(signature.required) <= set(inner) <= set(signature.positional):
        yield Splitter(kwargs={name: f"0.{name}" for name in inner}, targets=targets)
    elif len(inner) > 1 and len(signature.required) == len(inner):
        yield Splitter(args=tuple(f"0.{name}" for name in inner), targets=targets)


def is_target_name(name: str) -> bool:
    """Whether a parameter or key is called what targets are called, in the singular or plural."""
    last = name.lower().removeprefix("true_")
    words = {last, last.rstrip("s"), last.rpartition("_")[2], last.rpartition("_")[2].rstrip("s")}
    return bool(words & TARGET_NAMES)


def read_signature(model: nn.Module) -> Signature:
    """The parameters of the model's forward."""
    parameters = [*inspect.signature(model.forward).parameters.values()]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in by_position]
    kinds = {p.kind for p in parameters}
    return Signature(
        positional=tuple(p.name for p in positional),
        required=tuple(p.name for p in positional if p.default is p.empty),
        any_positional=inspect.Parameter.VAR_POSITIONAL in kinds,
        any_keyword=inspect.Parameter.VAR_KEYWORD in kinds,
    )


def input_names(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """What the model's forward calls each tensor of its arguments, in their order."""
    parameters = read_signature(model).positional
    return [_input_name(parameters, path) for path, _ in leaves((args, kwargs))]


def _input_name(parameters: tuple[str, ...], path: str) -> str:
    kind, _, rest = path.partition(".")
    position, _, inner = rest.partition(".")
    if kind == "0" and position.isdigit() and int(position) < len(parameters):
        return parameters[int(position)] + (f".{inner}" if inner else "")
    return rest


def pick(batch: Batch, path: str) -> Any:
    """The part of the batch at a dotted path of indices, keys and attributes."""
    for name in path.split(".") if path else ():
        named = dict(children(batch) or [])
        batch = named[name] if name in named else getattr(batch, name)
    return batch


def parse_selector(text: str, option: str, batch: Batch) -> tuple[str, ...]:
    """The paths of `--inputs` or `--targets`; raises SubjectError for a part that the batch does not have."""
    paths = tuple(part.strip() for part in text.split(","))
    for path in paths:
        try:
            pick(batch, path)
        except AttributeError:
            parts = ", ".join(name for name, _ in children(batch) or []) or "no named parts"
            raise SubjectError(f"{option}: the batch has no `{path}`; its parts are {parts}") from None
    return paths


def _first_that_runs(model: nn.Module, batch: Batch, readings: list[Splitter]) -> Splitter:
    first_error: Exception | None = None
    for reading in readings:
        parts = reading(batch)
        try:
            with torch.no_grad():
                model(*parts.args, **parts.kwargs)
        except Exception as error:  # whatever the user's forward raises for a wrong reading
            first_error = first_error or error
        else:
            return reading
    assert first_error is not None, "there is always a reading: the whole batch"
    raise SubjectError(_cannot_run(first_error, readings[0], batch)) from first_error


def _cannot_run(error: Exception, reading: Splitter, batch: Batch) -> str:
    given = ", ".join(
        f"{_called(path)} ({shapes(tensor)}{_range(tensor)})"
        for path in reading.inputs
        for _, tensor in leaves(pick(batch, path))
    )
    return (
        f"the model cannot run on a batch of the data{raised_at(error)}: {describe_error(error)}; "
        f"it was given {given or 'the batch'}; if that is the wrong part, say which with --inputs and --targets"
    )


def _range(tensor: torch.Tensor) -> str:
    """The smallest and the largest of whole numbers, which an embedding may have no rows for."""
    counts = not tensor.is_floating_point() and not tensor.is_complex() and tensor.numel()
    return f", {int(tensor.min())} to {int(tensor.max())}" if counts else ""


def _called(path: str) -> str:
    if not path:
        return "the whole batch"
    return f"batch[{path}]" if path.isdigit() else f'batch["{path}"]'
