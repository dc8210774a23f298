"""The lowest loss that outputs could reach: free ones, confined ones, or equal ones for equal inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nndoctor.probe.batch import tensors
from nndoctor.probe.ranges import FREE, SOFTMAX, OutputRange
from nndoctor.probe.subject import Split

ITERATIONS = 100  # of L-BFGS; the loss of separable examples falls to 1e-4 within 20
# A loss this far below zero has no floor.
BOTTOMLESS = -1e4
REPEATED = 0.5  # share of different rows
ZERO = 1e-5  # what a search of finitely many steps leaves of a floor at zero

# A loss of logits is at least zero; one that falls below takes the outputs for probabilities.
BELOW_ZERO = -1e-3

LossOfOutputs = Callable[[Tensor, Split], Tensor]


def lowest_loss(
    criterion: LossOfOutputs, output: Tensor, split: Split, confined: OutputRange = FREE, groups: Tensor | None = None
) -> float | None:
    """The minimum over all outputs of the shape of `output`; minus infinity if there is none, None if it fails.

    `groups` (examples,) numbers the different inputs: examples of one group have one output.
    """
    shape = list(output.shape)
    if groups is not None:
        shape[0] = int(groups.max()) + 1
    is_free = confined is FREE and groups is None
    free = nn.Parameter(output.detach().clone() if is_free else output.new_zeros(shape))
    optimizer = torch.optim.LBFGS([free], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        outputs = confined.link(free if groups is None else free[groups])
        loss = criterion(outputs, split)
        loss.backward()  # type: ignore[no-untyped-call]
        if free.grad is None:
            raise ValueError("the loss is cut from the outputs")
        seen.append(float(loss.detach()))
        return loss

    try:
        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, IndexError, TypeError):  # a loss that reads more than the main output
        return None
    finite = [loss for loss in seen if math.isfinite(loss)]
    lowest = min(finite, default=-math.inf)
    if lowest < BOTTOMLESS:
        return -math.inf
    return 0.0 if abs(lowest) < ZERO else lowest


@dataclass(frozen=True, slots=True)
class Floors:
    """How low the loss can fall; None where it is no known function of the outputs."""

    lowest: float | None
    of_range: float | None = None  # where the outputs' range does not suit the loss: the higher floor that it causes
    of_equal_inputs: float | None = None  # where inputs are equal that should not be: the same


def find_floors(criterion: LossOfOutputs, output: Tensor, split: Split, confined: OutputRange) -> Floors:
    """The floor of free outputs; that of confined ones where the loss is made for them."""
    free = lowest_loss(criterion, output, split)
    if confined is FREE:
        return Floors(free)
    bound = lowest_loss(criterion, output, split, confined)
    if bound is None:
        return Floors(free)
    takes_logits = free is not None and free >= BELOW_ZERO
    if not takes_logits or (confined.name == SOFTMAX and not ignores_shifts(criterion, output, split)):
        return Floors(bound)
    return Floors(free, bound)


def with_equal_inputs(
    floors: Floors, criterion: LossOfOutputs, output: Tensor, split: Split, suspicious: Callable[[], bool]
) -> Floors:
    """Examples with one input and several targets raise the floor: of noisy labels by right, of a broken loader not."""
    groups = input_groups(split, output.shape[0])
    if groups is None or floors.lowest is None or int(groups.max()) + 1 == output.shape[0]:
        return floors
    floor = lowest_loss(criterion, output, split, groups=groups)
    if floor is None or not math.isfinite(floor):
        return floors
    if suspicious():
        return replace(floors, of_equal_inputs=floor)
    return replace(floors, lowest=max(floors.lowest, floor))


def are_repeated(split: Split, examples: int) -> bool:
    """Whether the inputs of a batch repeat as those of a sound loader do not.

    Measured: every row of a batch is different, and one in sixteen for a loader that returns one example. Whole
    numbers (categories, tokens, counts) may repeat by chance, unless all examples are the same.
    """
    groups = input_groups(split, examples)
    if groups is None or examples < 2:
        return False
    different = int(groups.max()) + 1
    floats = [tensor for tensor in tensors([*split.args, *split.kwargs.values()]) if tensor.is_floating_point()]
    continuous = any(bool((tensor != tensor.round()).any()) for tensor in floats)
    return different == 1 or (continuous and different <= REPEATED * examples)


def ignores_shifts(criterion: LossOfOutputs, output: Tensor, split: Split) -> bool:
    """Whether the loss normalises the outputs itself: adding a constant to all of them leaves it as it is."""
    with torch.no_grad():
        as_they_are, shifted = criterion(output, split), criterion(output + 1, split)
    return bool(torch.isclose(as_they_are, shifted, rtol=1e-3))


def input_groups(split: Split, examples: int) -> Tensor | None:
    """The number of the different input that each example has, None if no input counts the examples first."""
    inputs = [tensor for tensor in tensors([*split.args, *split.kwargs.values()]) if tensor.shape[:1] == (examples,)]
    targets = {id(tensor) for tensor in tensors(split.targets)}
    rows = [tensor.detach().reshape(examples, -1).double() for tensor in inputs if id(tensor) not in targets]
    if not rows:
        return None
    groups: Tensor = torch.unique(torch.cat(rows, dim=1), dim=0, return_inverse=True)[1]
    return groups
