"""OPTIMIZER as the user named it (an instance, a class, a factory) becomes a way to make a fresh one for a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nndoctor.findings import Location
from nndoctor.probe.blame import describe_error, place_of_definition, place_of_error
from nndoctor.probe.entrypoint import required_parameters
from nndoctor.probe.errors import EntrypointError

MODEL_NAMES = frozenset({"model", "net", "network", "module", "m"})


@dataclass(frozen=True, slots=True)
class OptimizerRecipe:
    """Makes the user's optimizer anew for a model; the user's own instance is never stepped."""

    value: Any  # an instance, a class or a factory
    name: str
    location: Location | None = None  # where the factory is written
    source_line: str | None = None

    def __call__(self, model: nn.Module) -> Optimizer:
        """A fresh optimizer with the user's rates; raises EntrypointError if what the user named makes none."""
        return _like(self.value, model) if isinstance(self.value, Optimizer) else _called(self.value, self.name, model)

    def makes_several(self, model: nn.Module) -> bool:
        """Whether it makes more than one optimizer, as for a GAN; the probes use the first."""
        return _count(self.everything(model)) > 1

    def everything(self, model: nn.Module) -> Any:
        """All that the user's factory returns, schedulers beside optimizers too; None where it makes nothing."""
        if isinstance(self.value, Optimizer):
            return self.value
        for arguments in _ways(self.value, model):
            with suppress(Exception):  # whatever a factory raises for the wrong argument
                return self.value(*arguments)
        return None


def optimizer_recipe(value: Any, name: str) -> OptimizerRecipe:
    """Raises EntrypointError for what can be no optimizer."""
    if not isinstance(value, Optimizer) and not callable(value):
        raise EntrypointError(f"`{name}` is of type {type(value).__name__}: name an optimizer, its class or a factory")
    place, line = place_of_definition(value) or (None, None)
    return OptimizerRecipe(value, name, place, line)


def learning_rate(optimizer: Optimizer) -> float:
    """The highest rate of its groups; where a warm-up has already lowered it, the rate before."""
    return max(_rate(group) for group in optimizer.param_groups)


def rate_setter(optimizer: Optimizer) -> Callable[[float], None]:
    """A function that sets the highest rate; the groups keep their proportion to it."""
    highest = learning_rate(optimizer) or 1.0
    shares = [_rate(group) / highest for group in optimizer.param_groups]

    def set_rate(rate: float) -> None:
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share

    return set_rate


def _rate(group: Mapping[str, Any]) -> float:
    return float(group.get("initial_lr", group["lr"]))


def _called(factory: Callable[..., Any], name: str, model: nn.Module) -> Optimizer:
    first_error: Exception | None = None
    for arguments in _ways(factory, model):
        try:
            made = _only_optimizer(factory(*arguments))
        except Exception as error:  # whatever a factory raises for the wrong argument
            first_error = first_error or error
        else:
            if made is not None:
                return _like(made, model) if not arguments else made
    if first_error is None:
        raise EntrypointError(f"`{name}` returns no torch.optim.Optimizer")
    place = place_of_error(first_error)
    where = f" at {place.path}:{place.line}" if place else ""
    raise EntrypointError(
        f"`{name}` makes no optimizer{where}: {describe_error(first_error)}; it is called with the model or with its "
        "parameters, according to the name of its argument",
        place,
    ) from first_error


def _ways(factory: Callable[..., Any], model: nn.Module) -> list[tuple[Any, ...]]:
    """What the factory may be called with, by the name of its first parameter."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    by_model: tuple[Any, ...] = (model,)
    by_parameters: tuple[Any, ...] = (trainable,)
    required = required_parameters(factory)
    if not required and not isinstance(factory, type):
        return [()]
    names_model = bool(required) and required[0].lower() in MODEL_NAMES
    return [by_model, by_parameters] if names_model else [by_parameters, by_model]


def _only_optimizer(made: Any) -> Optimizer | None:
    """The first optimizer in what a factory or a LightningModule's configure_optimizers returns."""
    while isinstance(made, (tuple, list)) and made:
        made = made[0]
    if isinstance(made, Mapping):
        made = made.get("optimizer")
    return made if isinstance(made, Optimizer) else None


def _count(made: Any) -> int:
    """The optimizers in what a factory or configure_optimizers returns."""
    if isinstance(made, Optimizer):
        return 1
    if isinstance(made, Mapping):
        return _count(made.get("optimizer"))
    return sum(map(_count, made)) if isinstance(made, (tuple, list)) else 0


def _like(original: Optimizer, model: nn.Module) -> Optimizer:
    """A fresh optimizer of the same class, groups and rates over the parameters of `model`."""
    kind = type(original)
    accepted = inspect.signature(kind).parameters
    defaults = {key: value for key, value in original.defaults.items() if key in accepted}
    return kind(_groups_like(original, model), **defaults)


def _groups_like(original: Optimizer, model: nn.Module) -> list[dict[str, Any]]:
    """The original's groups; the parameters of another instance of the model are matched by their order."""
    own = list(model.parameters())
    known = {id(parameter) for parameter in own}
    listed = [parameter for group in original.param_groups for parameter in group["params"]]
    if any(id(parameter) in known for parameter in listed):
        return [{**group, "lr": _rate(group)} for group in original.param_groups]
    if len(original.param_groups) == 1 or [p.shape for p in listed] != [p.shape for p in own]:
        return [{**original.param_groups[0], "params": [p for p in own if p.requires_grad]}]
    remaining = iter(own)
    return [{**group, "params": [next(remaining) for _ in group["params"]]} for group in original.param_groups]
