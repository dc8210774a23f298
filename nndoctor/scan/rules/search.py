"""How experiments are run: hyper-parameters searched on a grid, and runs that cannot be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Const, Container, Site, Term, Tuple, Value

# ND218

_HYPER_PARAMETER = re.compile(
    r"lr|rate|batch|(^|_)bs|hid|width|depth|dim|units|layer|drop|decay|(^|_)wd|mom|alpha|beta|gamma|lam|eps|tau|temp"
    r"|size|reg|l1|l2|margin|head|rank|clip|scale",
    re.IGNORECASE,
)
_GRIDS = frozenset({"itertools.product", "sklearn.model_selection.ParameterGrid"})


class Axis(NamedTuple):
    """One axis of a grid: the loop that runs over it, what it is called, and how many values it has."""

    loop: Loop
    name: str
    values: int


@rule("ND218")
def grid_search(program: Program) -> Iterator[Draft]:
    told: set[int] = set()
    for event in program.of("step"):
        axes = [axis for loop in event.loops for axis in _axes(loop)]
        if len(axes) > 1 and id(axes[0].loop.node) not in told:
            told.add(id(axes[0].loop.node))
            yield _grid(axes)


def _axes(loop: Loop) -> list[Axis]:
    """The hyper-parameters whose listed values a loop goes through."""
    node: Any = loop.node
    iterable = loop.iterable
    while type(iterable) is Term and iterable.op == "enumerate":
        iterable = iterable.inputs[0]
    if type(iterable) is Term and getattr(kinds.callee(iterable), "name", None) in _GRIDS:
        counts = [_listed(value) for value in iterable.inputs if type(value) is not Api]
        return [Axis(loop, _target(loop), count) for count in counts if count > 1]
    count = _listed(iterable)
    name = _target(loop) if count > 1 else ""
    return [Axis(loop, name, count)] if _HYPER_PARAMETER.search(name) and hasattr(node, "target") else []


def _target(loop: Loop) -> str:
    node: Any = loop.node
    return wording.text(Site(loop.frame.source, node.target))


def _listed(value: Value) -> int:
    """How many numbers a list holds; 0 if it holds anything else."""
    items = value.items if type(value) is Tuple else value.attrs["$items"] if type(value) is Container else ()
    numbers = type(items) is tuple and all(type(i) is Const and isinstance(i.value, int | float) for i in items)
    return len(items) if numbers else 0


def _grid(axes: list[Axis]) -> Draft:
    first = axes[0]
    runs = " x ".join(str(axis.values) for axis in axes)
    message = f"a grid of {runs} runs tries only {max(axis.values for axis in axes)} values of any hyper-parameter"
    inner = {id(axis.loop.node): axis for axis in axes[1:] if axis.loop is not first.loop}
    evidence = tuple(
        (Site(axis.loop.frame.source, axis.loop.node), f"`{axis.name}`: {axis.values} values")
        for axis in inner.values()
    )
    return Draft("ND218", Site(first.loop.frame.source, first.loop.node), message, evidence)


# ND219


@rule("ND219")
def no_seed(program: Program) -> Iterator[Draft]:
    first: dict[Any, Event] = {}  # of each script, the first step that it takes in a loop
    for event in program.of("step"):
        if event.has_known_caller and event.loops:
            first.setdefault(event.frames[0].source, event)
    seeded = {
        source for event in program.of("call") if first and "seed" in event.details["name"] for source in _run(event)
    }
    helpers = seeded - set(first)  # whoever calls them is not told for each script
    for source, event in first.items():
        named = any("seed" in frame.source.text for frame in event.frames)
        if not (helpers or source in seeded or named):
            yield Draft("ND219", event.site, "this script trains without a seed: no run of it can be repeated")


def _run(event: Event) -> set[Any]:
    """The files that a call stands in, and that of the script that made it."""
    return {event.site.source, event.frames[0].source}
