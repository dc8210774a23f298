"""MODEL as the user named it (a module, a class, a factory) becomes one nn.Module, with what came along with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nndoctor.findings import Location
from nndoctor.probe.blame import place_of_definition
from nndoctor.probe.entrypoint import call_factory
from nndoctor.probe.errors import EntrypointError


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """The model, and the loss and optimizer if the factory returned them too."""

    model: nn.Module
    wrapped: nn.Module  # the same, or with torch.compile or DistributedDataParallel around it
    loss: Any = None
    optimizer: Any = None
    location: Location | None = None
    source_line: str | None = None
    notes: tuple[str, ...] = ()


def build_model(value: Any, name: str, arguments: Mapping[str, str] | None = None) -> BuiltModel:
    """Make the model; raises EntrypointError if what was named makes none."""
    made = value
    if not isinstance(value, (nn.Module, tuple, list)) and callable(value):
        made = call_factory(value, name, arguments)
    elif arguments:
        raise EntrypointError(f"--arg {next(iter(arguments))}: `{name}` is no class or function that takes arguments")
    model, *others = made if isinstance(made, (tuple, list)) and made else (made,)
    loss, optimizer = _loss_and_optimizer(others)
    if not isinstance(model, nn.Module):
        raise EntrypointError(
            f"`{name}` gives {_what(made)}: it must be an nn.Module, or a class or function that returns one, "
            "alone or as (model, loss) or (model, loss, optimizer)"
        )
    place, line = place_of_definition(_core(model).__class__, value) or (None, None)
    return _unwrapped(BuiltModel(model, model, loss, optimizer, place, line))


def _loss_and_optimizer(others: list[Any]) -> tuple[Any, Any]:
    """What came along with the model, in any order; of two functions the second makes the optimizer."""
    optimizers = [other for other in others if isinstance(other, Optimizer) or _is_optimizer_class(other)]
    functions = [other for other in others if callable(other) and not _is_optimizer_class(other)]
    loss, maker = (*functions, None, None)[:2]
    return loss, optimizers[0] if optimizers else maker


def _is_optimizer_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Optimizer)


def _what(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        kinds = [type(part).__name__ for part in value[:3]] + ["..."] * (len(value) > 3)
        return f"a {type(value).__name__} of {', '.join(kinds) or 'nothing'}"
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _core(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def _unwrapped(built: BuiltModel) -> BuiltModel:
    """Probes look inside the model and run few steps, for which compiling and replicating do not pay."""
    core = _core(built.model)
    if core is built.model:
        return built
    return replace(built, model=core, notes=(f"the model is probed without its wrapper {type(built.model).__name__}",))
