"""Derivatives: what a backward returns beside what small changes of the inputs do, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from nndoctor.probe.batch import map_tensors, tensors
from nndoctor.probe.functions import FunctionCall
from nndoctor.probe.session import seed_everything
from nndoctor.thresholds import Threshold

ROWS = 4  # of a batch; a function of fewer examples is as right or wrong
POINTS = 16  # elements of each input that are changed, one after the other
CHANGES = (1e-6, 1e-5)  # of the size of the input; both must give the same derivative
# Of the larger one, by how much two estimates of a smooth function may differ: 1e-9 to 1e-4.
SMOOTH = 1e-3
WRONG = Threshold(
    "NDP16",
    "wrong",
    0.02,
    "A backward that is meant to be exact is off by 1e-9 to 1e-6, an approximated one (GELU by tanh) by 1e-3.",
)
FEWEST = 4  # points at which a derivative must be known
WRONG_SHARE = 0.25
NOTHING = 1e-8  # of the largest derivative


Gradients = tuple[Tensor | None, ...]
"""One for each input of which a gradient is asked; None where the backward returns none."""


@dataclass(frozen=True, slots=True)
class Point:
    """The derivative with respect to one element: by small changes, None at a kink; and as the backward has it."""

    measured: float | None
    claimed: float


@dataclass(frozen=True, slots=True)
class Check:
    """What was found at a few points of one input of a function."""

    number: int  # of the tensor among the arguments
    points: tuple[Point, ...]

    @property
    def scale(self) -> float:
        """The largest derivative."""
        return max((max(abs(p.measured or 0.0), abs(p.claimed)) for p in self.points), default=0.0)

    @property
    def known(self) -> list[tuple[float, float]]:
        """Measured and claimed, where the function is smooth."""
        return [(p.measured, p.claimed) for p in self.points if p.measured is not None]

    @property
    def wrong(self) -> list[tuple[float, float]]:
        """Those of the known that do not agree."""
        least = NOTHING * self.scale
        return [(m, c) for m, c in self.known if abs(m - c) > WRONG.value * max(abs(m), abs(c)) + least]

    @property
    def is_wrong(self) -> bool:
        """Whether they disagree at many points."""
        return len(self.known) >= FEWEST and len(self.wrong) >= max(WRONG_SHARE * len(self.known), 2)

    @property
    def is_estimated(self) -> bool:
        """Whether the backward lets through what does not change the function, as a straight-through estimator does."""
        return any(abs(m) <= NOTHING * self.scale < abs(c) for m, c in self.known)

    @property
    def factor(self) -> float | None:
        """By what the backward is to be divided to be right; None if that differs from point to point."""
        ratios = [c / m for m, c in self.known if abs(m) > NOTHING * self.scale]
        middle = median(ratios) if ratios else math.nan
        same = all(abs(ratio - middle) <= SMOOTH * abs(middle) for ratio in ratios)
        return middle if len(ratios) >= FEWEST and same and middle else None


@dataclass(frozen=True, slots=True)
class Checked:
    """A function and its checks; `reason` says why a difference is meant or nothing could be told."""

    call: FunctionCall
    checks: tuple[Check, ...] = ()
    reason: str | None = None

    @property
    def wrong(self) -> Check | None:
        """The first input with a wrong derivative, whatever may be meant by it."""
        return next((check for check in self.checks if check.is_wrong), None)


def check(call: FunctionCall, seed: int) -> Checked:
    """Compare on a few rows of the arguments of the call, or on all of them where the function wants them whole."""
    error = "it was not called with tensors"
    for args in _smaller(call):
        try:
            return _check(call, args, seed)
        except Exception as raised:  # a user's function may raise anything for other sizes and for float64
            error = f"it does not run in float64: {type(raised).__name__}"
    return Checked(call, reason=error)


def _smaller(call: FunctionCall) -> list[list[Tensor]]:
    """The tensors of the call in float64: with few rows, and whole."""
    whole = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors(call.args)]
    size = next((tensor.shape[0] for tensor in whole if tensor.ndim), 0)
    cut = [tensor[:ROWS] if tensor.ndim and tensor.shape[0] == size else tensor for tensor in whole]
    return [cut, whole] if size > ROWS else [whole]


def _check(call: FunctionCall, given: list[Tensor], seed: int) -> Checked:
    asked = [number for number, wanted in enumerate(call.differentiable) if wanted]
    if not asked:
        return Checked(call, reason="no gradient was asked of it")
    function = _as_function(call, seed)
    leaves = [tensor.detach().requires_grad_(number in asked) for number, tensor in enumerate(given)]
    outputs = function(leaves)
    generator = torch.Generator().manual_seed(seed)
    weights = [
        torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output) * output.requires_grad
        for output in outputs
    ]

    def backward(factor: float) -> Gradients:
        made = [
            (out, factor * weight) for out, weight in zip(function(leaves), weights, strict=True) if out.requires_grad
        ]
        roots, vectors = zip(*made, strict=True)
        return torch.autograd.grad(roots, [leaves[number] for number in asked], vectors, allow_unused=True)

    gradients = backward(1.0)
    reason = _deliberate(given, outputs, gradients, backward(1.0), backward(-2.0))
    with torch.no_grad():
        checks = tuple(
            Check(number, _points(function, given, number, weights, gradient, generator))
            for number, gradient in zip(asked, gradients, strict=True)
            if gradient is not None
        )
    if reason is None and any(each.is_estimated for each in checks):
        reason = "it passes on a gradient where its outputs do not change, as a straight-through estimator does"
    return Checked(call, checks, reason)


def _as_function(call: FunctionCall, seed: int) -> Callable[[list[Tensor]], list[Tensor]]:
    """Of the tensors among the arguments; every call draws the same random numbers and works on copies."""

    apply: Callable[..., Any] = call.function.apply

    def function(given: list[Tensor]) -> list[Tensor]:
        seed_everything(seed)
        remaining = iter(given)
        args = map_tensors(lambda _: next(remaining).clone(), call.args)
        return [made for made in tensors(apply(*args)) if made.is_floating_point()]

    return function


def _deliberate(
    given: list[Tensor], outputs: list[Tensor], once: Gradients, again: Gradients, doubled: Gradients
) -> str | None:
    """Why a backward that is no derivative is none on purpose; `doubled` is that of -2 times the gradient."""
    if any(torch.equal(output, tensor) for output in outputs for tensor in given):
        return "it returns its input as it is, and its backward is what it is for"
    if not _same(once, again, 1.0):
        return "its backward is random"
    return None if _same(once, doubled, -2.0) else "its backward is not linear in the gradient: it clips or selects"


def _same(one: Gradients, other: Gradients, factor: float) -> bool:
    return all(
        first is None or second is None or torch.allclose(factor * first, second, rtol=1e-4)
        for first, second in zip(one, other, strict=True)
    )


def _points(
    function: Callable[[list[Tensor]], list[Tensor]],
    given: list[Tensor],
    number: int,
    weights: list[Tensor],
    gradient: Tensor,
    generator: torch.Generator,
) -> tuple[Point, ...]:
    """At random elements; zeros are left out, where many functions have a kink and padding has no meaning."""
    values = given[number].flatten()
    candidates = values.nonzero().flatten()
    chosen = candidates[torch.randperm(len(candidates), generator=generator)[:POINTS].to(candidates.device)]
    size = float(values.square().mean().sqrt())

    def changed(element: int, change: float) -> list[Tensor]:
        other = values.clone()
        other[element] += change
        return function([other.view_as(each) if at == number else each for at, each in enumerate(given)])

    base = function(given)
    points = []
    for element in chosen.tolist():
        slopes = []
        for share in CHANGES:
            change = share * size
            for step in (change, -change):
                moved = changed(element, step)
                terms = zip(moved, base, weights, strict=True)
                slopes.append(sum(float(((to - at) * weight).sum()) for to, at, weight in terms) / step)
        points.append(Point(_agreed(slopes), float(gradient.flatten()[element])))
    return tuple(points)


def _agreed(slopes: list[float]) -> float | None:
    """The derivative, if changes up and down, small and large, give the same."""
    largest = max(map(abs, slopes))
    if not math.isfinite(largest) or max(slopes) - min(slopes) > SMOOTH * largest:
        return None
    return (slopes[0] + slopes[1]) / 2
