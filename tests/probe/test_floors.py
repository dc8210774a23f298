"""How low a loss can fall: for free outputs, confined ones, and equal inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nndoctor.probe.floors import lowest_loss
from nndoctor.probe.ranges import OutputRange
from nndoctor.probe.subject import Split


def confined(name: str, link: Callable[[Tensor], Tensor]) -> OutputRange:
    return OutputRange(name, link)


def floor_of(loss: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, **options: Any) -> float:
    lowest = lowest_loss(lambda outputs, split: loss(outputs, split.targets), output, Split((), {}, target), **options)
    assert lowest is not None
    return lowest


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_floor_of_two_softmaxes(classes: int) -> None:
    softmax = confined("softmax", lambda free: free.softmax(-1))
    floor = floor_of(F.cross_entropy, torch.randn(8, classes), torch.arange(8) % classes, confined=softmax)
    assert floor == pytest.approx(math.log(math.e + classes - 1) - 1, abs=1e-3)


def smoothed(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, label_smoothing=0.2)


def clipped(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target).clamp(min=0.25)


ENTROPY_OF_SMOOTHED = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))  # 0.8 + 0.2 / 2 for one of two classes


@pytest.mark.parametrize(
    ("loss", "floor"),
    [
        pytest.param(F.cross_entropy, 0.0, id="cross-entropy"),
        pytest.param(smoothed, ENTROPY_OF_SMOOTHED, id="label smoothing"),
        pytest.param(clipped, 0.25, id="clipped"),
        pytest.param(lambda output, target: -F.cross_entropy(output, target), -math.inf, id="wrong sign"),
    ],
)
def test_the_floor_of_free_outputs(loss: Callable[[Tensor, Tensor], Tensor], floor: float) -> None:
    assert floor_of(loss, torch.randn(8, 2), torch.arange(8) % 2) == pytest.approx(floor, abs=1e-3)


def test_the_floor_of_equal_inputs_is_the_entropy_of_their_labels() -> None:
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    target = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert floor_of(F.cross_entropy, torch.randn(8, 2), target, groups=groups) == pytest.approx(entropy / 2, abs=1e-3)
