"""The loss that a training script back-propagates, for the dynamic pass to measure with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.findings import Location
from nndoctor.scan.values import Const, Term, Value

if TYPE_CHECKING:
    from nndoctor.scan.program import Event, Program

Option = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss of torch by name: a class of torch.nn if it is capitalised, else a function of torch.nn.functional."""

    name: str
    location: Location  # where the script applies it
    options: Mapping[str, Option] = field(default_factory=dict)  # constant keyword arguments, such as label_smoothing


def objective_of(path: Path, root: Path) -> Objective | None:
    """The only loss of torch that the script at `path` back-propagates; none if it adds others, or none is known."""
    from nndoctor.scan.interpreter.run import run_program
    from nndoctor.scan.project import Project

    project = Project(root)
    source = project.source(path)
    if source.module is None:
        return None
    program = run_program(project, [source])
    found = {event.details["name"]: event for event in program.of("loss") if _is_objective(program, event)}
    if len(found) != 1:
        return None
    (name, event) = found.popitem()
    return Objective(name, event.site.source.location(event.site.node), _options(event))


def _is_objective(program: Program, event: Event) -> bool:
    """Whether the loss itself, perhaps scaled, is back-propagated."""
    result = event.details["result"]
    passes = program.of("backward")
    return bool(event.details["whole"]) and any(
        _unscaled(leaf) is result for backward in passes for leaf in backward.options(backward.subject)
    )


_SCALING = frozenset({"scaled", "/", "clamp", "returned", "forward"})


def _unscaled(value: Value) -> Value:
    while type(value) is Term and value.op in _SCALING:
        value = value.inputs[0]
    return value


def _options(event: Event) -> dict[str, Option]:
    given = event.details["result"].info["options"]
    constants = {name: value.value for name, value in given.items() if type(value) is Const and name.isidentifier()}
    return {name: value for name, value in constants.items() if isinstance(value, str | int | float | bool)}
