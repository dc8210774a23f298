"""The sandbox: whatever happens inside, model, batches, random numbers and switches are as before, bit by bit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from making import labels, mlp, points, subject
from torch import nn

from nndoctor.probe.memory import LARGEST_CONTAINER
from nndoctor.probe.session import sandbox


class Helper:
    def __init__(self) -> None:
        self.count = 0


class Net(nn.Module):
    """Parameters, buffers, tied and flat weights, and state of every kind in Python attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.linear.weight
        self.norm = nn.BatchNorm1d(4)
        self.lstm = nn.LSTM(4, 4)
        self.register_buffer("table", torch.ones(1).expand(3))
        self.cache = [torch.zeros(2)]
        self.history: deque[int] = deque([1])
        self.names = {"a": 1, "b": {"c": [2]}}
        self.seen = {1}
        self.array = np.zeros(2)
        self.helper = Helper()
        self.generator = torch.Generator().manual_seed(7)
        self.calls = 0
        self.hidden = [nn.Linear(2, 2)]
        self.linear.weight.grad = torch.full((4, 4), 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tied(self.norm(self.linear(x)))  # type: ignore[no-any-return]


def replace_parameter(net: Net) -> None:
    net.linear.bias = nn.Parameter(torch.zeros(4))


def round_to_half(net: Net) -> None:
    for parameter in net.parameters():
        parameter.data = parameter.data.bfloat16()


def train(net: Net) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()


def fill_with_nan(net: Net) -> None:
    with torch.no_grad():
        net.linear.weight.fill_(float("nan"))


def drop_gradients(net: Net) -> None:
    net.zero_grad()


def change_gradient_in_place(net: Net) -> None:
    assert net.linear.weight.grad is not None
    net.linear.weight.grad.zero_()


CHANGES: dict[str, Callable[[Net], Any]] = {
    "training": train,
    "weights of another precision": round_to_half,
    "a parameter replaced": replace_parameter,
    "NaN in the weights": fill_with_nan,
    "gradients dropped": drop_gradients,
    "gradients changed": change_gradient_in_place,
    "frozen": lambda net: net.requires_grad_(False),
    "eval mode": lambda net: net.norm.eval(),
    "a layer added": lambda net: net.add_module("extra", nn.Linear(1, 1)),
    "a layer removed": lambda net: delattr(net, "lstm"),
    "a hook": lambda net: net.linear.register_forward_hook(lambda *_: None),
    "a tensor in a list": lambda net: net.cache[0].add_(1),
    "a list that grows": lambda net: net.cache.append(torch.ones(1)),
    "a deque": lambda net: net.history.appendleft(3),
    "a nested dictionary": lambda net: net.names["b"]["c"].append(3),
    "a set": lambda net: net.seen.clear(),
    "an array": lambda net: net.array.fill(4),
    "a helper object": lambda net: setattr(net.helper, "count", 5),
    "a number": lambda net: setattr(net, "calls", 9),
    "a new attribute": lambda net: setattr(net, "note", "x"),
    "a layer in a plain list": lambda net: nn.init.zeros_(net.hidden[0].weight),
    "a generator of its own": lambda net: torch.rand(3, generator=net.generator),
}


def description(net: Net) -> dict[str, Any]:
    """Everything about the net that a change could show in."""
    return {
        "bytes": {
            name: value.reshape(-1).contiguous().view(torch.uint8).tolist() for name, value in net.state_dict().items()
        },
        "types": {name: value.dtype for name, value in net.state_dict().items()},
        "identities": [id(parameter) for parameter in net.parameters()],
        "tied": net.tied.weight is net.linear.weight,
        "gradients": [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        "trainable": [parameter.requires_grad for parameter in net.parameters()],
        "modes": [module.training for module in net.modules()],
        "layers": [name for name, _ in net.named_modules()],
        "hooks": len(net.linear._forward_hooks),
        "cache": [tensor.tolist() for tensor in net.cache],
        "plain": (
            list(net.history),
            repr(net.names),
            sorted(net.seen),
            net.array.tolist(),
            net.helper.count,
            net.calls,
        ),
        "hidden": net.hidden[0].weight.tolist(),
        "attributes": sorted(vars(net)),
        "generator": net.generator.get_state().tolist(),
    }


@pytest.mark.parametrize("name", CHANGES)
def test_undoes_every_change_of_the_model(name: str) -> None:
    net = Net()
    before = description(net)
    with sandbox(net, seed=0):
        CHANGES[name](net)
        inside = description(net)
    assert inside != before, "the change must be one that the description sees"
    assert description(net) == before


def test_goes_back_to_the_beginning_between_two_trials() -> None:
    net = Net()
    with sandbox(net, seed=3) as rewind:
        first = torch.rand(2), random.random(), np.random.rand()
        train(net)
        rewind()
        again = torch.rand(2), random.random(), np.random.rand()
        weights = net.linear.weight.clone()
    assert torch.equal(first[0], again[0])
    assert first[1:] == again[1:]
    assert torch.equal(weights, net.linear.weight)


def test_a_failure_inside_is_undone_too() -> None:
    net = Net()
    before = description(net)
    with pytest.raises(ZeroDivisionError), sandbox(net, seed=0):
        train(net)
        raise ZeroDivisionError
    assert description(net) == before


def test_what_is_large_is_data_and_kept_by_reference() -> None:
    net = Net()
    net.cache = list(range(LARGEST_CONTAINER + 1))
    with sandbox(net, seed=0):
        net.cache.append(1)
    assert len(net.cache) == LARGEST_CONTAINER + 2


def test_random_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = torch.rand(3).tolist(), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    with sandbox(seed=1):
        torch.rand(9), random.random(), np.random.rand()
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == expected


def test_switches_of_torch_are_put_back() -> None:
    def switches() -> tuple[Any, ...]:
        cudnn = torch.backends.cudnn
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_anomaly_enabled(),
            cudnn.benchmark,
            cudnn.deterministic,
        )

    before = switches()
    with sandbox(seed=0):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.autograd.set_detect_anomaly(True)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = True
        assert all(a != b for a, b in zip(switches(), before, strict=True))
    assert switches() == before


def test_the_loss_of_the_user_may_have_state_too() -> None:
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.ones(10))
    made = subject(build_model=mlp, loader=lambda: [(points(), torch.eye(10)[labels()])], loss=loss)
    with made.sandbox():
        loss.pos_weight.fill_(9)
        loss.train(False)
    assert loss.pos_weight.tolist() == [1] * 10
    assert loss.training
