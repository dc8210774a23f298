"""How long a training script means to train and how often it steps its scheduler, for the dynamic pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nndoctor.scan.program import Program


@dataclass(frozen=True, slots=True)
class Plan:
    """The run as the script is written; None for what it does not say."""

    epochs: int | None = None
    steps_per_epoch: int | None = None  # only of a script that counts steps and knows no epochs
    per_batch: bool | None = None  # whether the scheduler is stepped as often as the optimizer


def plan_of(path: Path, root: Path) -> Plan | None:
    """The plan of the script at `path`; none if it cannot be parsed or says nothing."""
    from nndoctor.scan.interpreter.run import run_program
    from nndoctor.scan.project import Project

    project = Project(root)
    source = project.source(path)
    if source.module is None:
        return None
    program = run_program(project, [source])
    lengths, paces = set(_lengths(program)), set(_paces(program))
    epochs, steps = lengths.pop() if len(lengths) == 1 else (None, None)
    plan = Plan(epochs, steps, paces.pop() if len(paces) == 1 else None)
    return None if plan == Plan() else plan


def _lengths(program: Program) -> Iterator[tuple[int, int | None]]:
    """Epochs, and steps in each where the script counts them: of every loop around an optimizer's step."""
    from nndoctor.scan.rules.schedules import rounds

    for step in program.of("step"):
        known = [found[1] if (found := rounds(loop)) is not None else None for loop in step.loops[-2:]]
        first = known[0] if known else None
        if first is not None and first.value >= 1:
            yield (int(first.value), None) if len(known) == 2 else (1, int(first.value))


def _paces(program: Program) -> Iterator[bool]:
    """For every scheduler whether it is stepped for each batch, as the optimizer is, or less often."""
    from nndoctor.scan.rules.schedules import schedules

    for schedule in schedules(program):
        for tick in schedule.ticks:
            around = [step.loops for step in schedule.steps if step.loops[: len(tick.loops)] == tick.loops]
            if tick.loops and around:
                yield tick.loops in around
