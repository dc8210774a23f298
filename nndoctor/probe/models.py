"""MODEL as the user named it (a module, a class, a factory) becomes one nn.Module, with what came along with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from nndoctor.findings import Location
from nndoctor.probe.blame import place_of_definition
from nndoctor.probe.entrypoint import call_factory
from nndoctor.probe.errors import EntrypointError


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """The model, and the loss and optimizer if the factory returned them too."""

    model: nn.Module
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
    model, loss, optimizer = (*made, None, None)[:3] if isinstance(made, (tuple, list)) else (made, None, None)
    if not isinstance(model, nn.Module):
        raise EntrypointError(
            f"`{name}` gives {_what(made)}: it must be an nn.Module, or a class or function that returns one, "
            "alone or as (model, loss) or (model, loss, optimizer)"
        )
    place, line = place_of_definition(_core(model).__class__, value) or (None, None)
    return _unwrapped(BuiltModel(model, loss, optimizer, place, line))


def _what(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
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
