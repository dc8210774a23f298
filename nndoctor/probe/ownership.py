"""Ownership: which example of a batch each element of a tensor comes from, and the operation that broke it up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from nndoctor.probe.recording import Imprint, Operation, Recording, changed, positions

NOBODY = -1  # no example that was changed has an effect on the element
SEVERAL = -2  # more than one has


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the examples lie: dimension `dim` counts `outer * examples * inner`, in this order.

    `outer` and `inner` are 1 for a batch dimension, and otherwise what it was merged with, as in (batch * time, width).
    """

    dim: int
    outer: int = 1
    inner: int = 1

    @property
    def is_plain(self) -> bool:
        return self.outer == self.inner == 1

    def example(self, coordinate: Tensor, examples: int) -> Tensor:
        """The example that a coordinate along `dim` belongs to."""
        return coordinate // self.inner % examples


def layouts(shape: Sequence[int], examples: int) -> Iterator[Layout]:
    """Every way in which a tensor of that shape may hold the examples along one dimension, batch dimensions first."""
    yield from (Layout(dim) for dim, size in enumerate(shape) if size == examples)
    for dim, size in enumerate(shape):
        rest, remainder = divmod(size, examples)
        if rest > 1 and not remainder:
            yield from (Layout(dim, outer, rest // outer) for outer in range(1, rest + 1) if rest % outer == 0)


class State(Enum):
    """What an operation left of the examples."""

    UNTOUCHED = "none of its elements depends on a changed example"
    APART = "each example keeps its place along one dimension"
    SCATTERED = "each element has one owner, but they lie in no order along any dimension"
    MIXED = "some elements depend on several examples"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One recorded operation and what it left of the examples."""

    operation: Operation
    state: State
    layouts: tuple[Layout | None, ...]  # of each output; none where it is not APART


def trace(base: Recording, again: Recording, edited: Mapping[int, Recording], examples: int) -> list[Step]:
    """Follow the examples through a recording, from recordings of the same call with one example changed each.

    `again` repeats `base`: what differs between the two is noise and belongs to nobody. The trace ends where the
    recordings no longer make the same calls, because the control flow depends on the data.
    """
    steps: list[Step] = []
    runs = (base, again, *edited.values())
    for operations in zip(*(run.operations for run in runs), strict=False):
        if len({operation.call for operation in operations}) > 1:
            break
        outputs = zip(*(operation.outputs for operation in operations), strict=True)
        owned = [owners(first, second, dict(zip(edited, others, strict=True))) for first, second, *others in outputs]
        steps.append(_step(operations[0], owned, examples))
    return steps


def owners(base: Imprint, again: Imprint, edited: Mapping[int, Imprint]) -> Tensor | None:
    """The owner of each element of the sample: an example, NOBODY or SEVERAL; None if the shape depends on the data."""
    if any(imprint.shape != base.shape for imprint in (again, *edited.values())):
        return None
    owner = torch.full(base.sample.shape, NOBODY)
    noise = changed(base, again)
    for example, imprint in edited.items():
        touched = changed(base, imprint) & ~noise
        owner[touched] = torch.where(owner[touched] == NOBODY, example, SEVERAL)
    return owner


def _step(operation: Operation, owned: list[Tensor | None], examples: int) -> Step:
    found = tuple(
        None if owner is None else find_layout(output.shape, owner, examples)
        for output, owner in zip(operation.outputs, owned, strict=True)
    )
    touched = [owner is None or bool((owner != NOBODY).any()) for owner in owned]
    if any(owner is not None and bool((owner == SEVERAL).any()) for owner in owned):
        state = State.MIXED
    elif not any(touched):
        state = State.UNTOUCHED
    elif any(some and layout is None for some, layout in zip(touched, found, strict=True)):
        state = State.SCATTERED
    else:
        state = State.APART
    return Step(operation, state, found)


def find_layout(shape: tuple[int, ...], owner: Tensor, examples: int) -> Layout | None:
    """The layout that explains the owners of the sampled elements, None if none does."""
    owned = owner != NOBODY
    if not owned.any():
        return None
    numel = math.prod(shape)
    coordinates = torch.unravel_index(positions(numel)[owned], shape)
    for layout in layouts(shape, examples):
        if torch.equal(layout.example(coordinates[layout.dim], examples), owner[owned]):
            return layout
    return None


# ------------------------------------------------------------------------------------------------- the culprit

# These take elements out of a tensor on purpose; that they lie in no order afterwards is no fault.
SELECTIONS = frozenset({"_pack_padded_sequence", "masked_select", "nonzero", "unique"})
RESHAPES = frozenset({"view", "reshape", "unflatten", "view_as", "reshape_as", "_unsafe_view"})


def culprit(steps: Sequence[Step], outputs: Sequence[int], examples: int) -> Step | None:
    """The first operation on the way to `outputs` that mixes or scatters the examples, None if the way is lost."""
    before = _Before(steps)
    broken = before.walk(outputs, State.MIXED, State.SCATTERED)
    first = [step for step in broken if not any(other in broken for other in before.inputs(step))]
    blamed = _earliest(step for step in first if not _selects(step))
    blamed = blamed or _earliest(step for step in broken if step.state is State.MIXED)
    if blamed is None or blamed.state is State.SCATTERED:
        return blamed
    intact = before.walk(blamed.operation.inputs, State.APART)
    return _earliest(step for step in intact if _misplaces(step, examples)) or blamed


class _Before:
    """Goes back from an operation to those whose results it read."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = {step.operation.index: step for step in steps}

    def inputs(self, step: Step) -> list[Step]:
        return [self._steps[index] for index in step.operation.inputs if index in self._steps]

    def walk(self, indices: Sequence[int], *states: State) -> set[Step]:
        """The steps at `indices` and all before them, as long as they are in one of the states."""
        waiting = [self._steps[index] for index in indices if index in self._steps]
        found: set[Step] = set()
        while waiting:
            step = waiting.pop()
            if step.state in states and step not in found:
                found.add(step)
                waiting.extend(self.inputs(step))
        return found


def _earliest(steps: Iterable[Step]) -> Step | None:
    return min(steps, key=lambda step: step.operation.index, default=None)


def _selects(step: Step) -> bool:
    """Whether it scatters the examples because it took out some of the elements, as a boolean mask does."""
    if step.state is State.MIXED:
        return False
    read = {math.prod(shape) for shape in step.operation.input_shapes}
    made = {math.prod(output.shape) for output in step.operation.outputs}
    return step.operation.name in SELECTIONS or not made & read


def _misplaces(step: Step, examples: int) -> bool:
    """Whether a view gave the size of the batch to a dimension that does not count the examples.

    A view of (4, 8, width) as (8, 4, width) leaves the examples in pairs along the first dimension, while whoever wrote
    it takes the second for the batch.
    """
    operation = step.operation
    return operation.name in RESHAPES and any(
        layout is not None and not layout.is_plain and examples in output.shape
        for layout, output in zip(step.layouts, operation.outputs, strict=True)
    )
