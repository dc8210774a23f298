"""NDP16: wrong backwards to their line, right ones of many kinds, and those that differ on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import labels, measured, points, subject, subject_of_source
from torch import Tensor, nn
from torch.autograd import Function

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.subject import Subject

RULE = load_rule("NDP16")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
SICK = [name for name, code in zoo.SICK.items() if code == "NDP16"]


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP16", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP16", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP16"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    assert measured("NDP16", zoo.subject(name))[1] == []


@pytest.mark.parametrize("name", SICK)
def test_finds_sick_models_at_their_line(name: str) -> None:
    (finding,) = measured("NDP16", zoo.subject(name))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_tells_a_sign_and_a_factor() -> None:
    (reversed_,) = measured("NDP16", zoo.subject("loss_with_reversed_gradient"))[1]
    assert reversed_.message == "the backward of `LogCosh` is wrong for its first tensor: it has the opposite sign"
    (scaled,) = measured("NDP16", zoo.subject("attention_scale_forgotten"))[1]
    assert scaled.measurements["factor"] == pytest.approx(32**0.5, rel=1e-3)
    assert scaled.treatment.startswith("Divide the gradient that it returns for this input by 5.657")


class Linear(Function):
    """Several inputs, one of them missing, and a bias without a batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.T if bias is None else x @ weight.T + bias

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ x, gradient.sum(0) if ctx.needs_input_grad[2] else None


class InPlace(Function):
    """Changes its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * gradient


class SortedWithPlaces(Function):
    """Returns places, which have no gradient, beside values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        values, places = x.sort(dim=1)
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(places)
        return values, places

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        (places,) = ctx.saved_tensors
        return torch.zeros_like(gradient).scatter_(1, places, gradient)


class Dropped(Function):
    """Draws random numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.kept = (torch.rand_like(x) < 0.5).to(x)
        return x * ctx.kept

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.kept


class Gelu(Function):
    """An approximated derivative, as fused kernels have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.gelu(x, approximate="tanh"), x, gradient)[0]


class Rounded(Function):
    """Learns the step of a quantisation with a straight-through gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        ctx.save_for_backward(x, step)
        return (x / step).round() * step

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, step = ctx.saved_tensors
        return gradient, (gradient * ((x / step).round() - x / step)).sum()


class Clipped(Function):
    """Gives the input back and clips its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(-1e-3, 1e-3)


class Guided(Function):
    """A ReLU that lets only positive gradients through, to look at a network."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient.clamp_min(0) * (x > 0)


class Single(Function):
    """Computes in single precision whatever it is given, too coarsely for small changes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.float().sin().to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.cos()


class Wrong(Function):
    """Forgets that it doubles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Net(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.body = nn.Linear(16, 32)
        self.step = nn.Parameter(torch.tensor(0.1))
        self.head = nn.Linear(32, 10)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self, self.body(x)))


def made(function: Any) -> Subject:
    return subject(build_model=lambda: Net(function), loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())


RIGHT = {
    "linear": lambda net, x: Linear.apply(x, torch.eye(32) * net.step, net.body.bias),
    "linear without bias": lambda net, x: Linear.apply(x, torch.eye(32) * net.step, None),
    "in place": lambda net, x: InPlace.apply(x + 0),
    "sorted": lambda net, x: SortedWithPlaces.apply(x)[0],
    "dropped": lambda net, x: Dropped.apply(x),
    "gelu": lambda net, x: Gelu.apply(x),
}
DELIBERATE = {
    "rounded": (lambda net, x: Rounded.apply(x, net.step), "straight-through"),
    "clipped": (lambda net, x: Clipped.apply(x), "returns its input"),
    "guided": (lambda net, x: Guided.apply(x), "not linear in the gradient"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_backwards_of_many_kinds(name: str) -> None:
    result, findings = measured("NDP16", made(RIGHT[name]))
    assert (result.status, findings) == ("ok", [])
    (error,) = result.measurements.values()
    assert float(error or 0) < (5e-3 if name == "gelu" else 1e-4)
    assert "not judged" not in result.summary


@pytest.mark.parametrize("name", DELIBERATE)
def test_backwards_that_differ_on_purpose(name: str) -> None:
    function, reason = DELIBERATE[name]
    result, findings = measured("NDP16", made(function))
    assert findings == []
    assert reason in result.summary


def test_single_precision_inside_is_too_coarse_to_judge() -> None:
    assert measured("NDP16", made(lambda net, x: Single.apply(x)))[1] == []


def test_a_function_under_another_name_is_met() -> None:
    twice = Wrong.apply
    (finding,) = measured("NDP16", made(lambda net, x: twice(x)))[1]
    assert finding.measurements["factor"] == pytest.approx(0.5)
    assert "forward" in vars(Wrong)
    assert float(Wrong.apply(torch.ones(()))) == 2


def test_a_function_that_refuses_float64_is_not_judged() -> None:
    class Picky(Wrong):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            assert x.dtype is torch.float32
            return 2 * x

    result, findings = measured("NDP16", made(lambda net, x: Picky.apply(x)))
    assert findings == []
    assert "does not run in float64: AssertionError" in result.summary


def test_models_of_torch_alone_are_skipped() -> None:
    assert measured("NDP16", zoo.subject("mlp"))[0].status == "skipped"
