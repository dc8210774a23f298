"""Every probe leaves model, optimizer, loss, batches and random numbers as it found them, bit by bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from torch import Tensor, nn

from nndoctor.probe import registry
from nndoctor.probe.batch import leaves
from nndoctor.probe.batches import Batches
from nndoctor.probe.effort import Effort
from nndoctor.probe.optimizers import optimizer_recipe
from nndoctor.probe.registry import Outcome, examine, load_probes
from nndoctor.probe.subject import Objective, Split, Subject

# A probe leaves no less behind after few steps than after many.
BRIEF = Effort("brief", batches=2, steps=4, sweep=6, seconds=60.0, setup_seconds=60.0)
KINDS = [
    "bert",
    "cnn",
    "gpt2",
    "gru_tagger",
    "language_model_sequence_first",
    "lazy",
    "lora",
    "lstm",
    "nanogpt",
    "simclr",
    "unet",
    "vae",
    "vit",
    "zero_init_residual",
    "batchnorm_hides_large_weights",
    "batchnorm_without_statistics",
    "cosine_per_batch",
    "depth_without_activations",
    "labels_shuffled_apart",
    "nan_gradient",
    "swish_without_product_rule",
    "view_for_permute",
]


def bits(tensor: Tensor) -> tuple[Any, ...]:
    """All that may change about a tensor, but for its identity."""
    kept = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor
    grad = tensor.grad if tensor.is_leaf else None
    return (
        *(tuple(tensor.shape), tensor.dtype, tensor.requires_grad, tensor.data_ptr(), bytes(kept.tolist())),
        None if grad is None else bits(grad),
    )


def module_state(module: nn.Module) -> dict[str, Any]:
    """Parameters, buffers, modes, hooks and plain attributes of a module and all below it, by dotted name."""
    state: dict[str, Any] = {}
    for name, part in module.named_modules():
        state[f"{name}: class"] = type(part)
        for key, value in vars(part).items():
            state[f"{name}.{key}"] = attribute(value)
        for key, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            state[f"{name}.{key}: tensor"] = (id(tensor), bits(tensor))
    return state


def attribute(value: Any) -> Any:
    if isinstance(value, Tensor):
        return bits(value)
    if isinstance(value, dict):
        return {key: (id(part), attribute(part)) for key, part in value.items()}
    return value if isinstance(value, (bool, int, float, str, tuple, type(None))) else id(value)


def global_state() -> dict[str, Any]:
    numpy_state = np.random.get_state()
    registered = vars(torch.nn.modules.module)
    return {
        "python": random.getstate(),
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "torch": torch.get_rng_state().tolist(),
        "hooks": {key: len(value) for key, value in registered.items() if key.endswith("_hooks") and value is not None},
        "flags": (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.is_anomaly_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.is_autocast_enabled("cpu"),
            len(torch.overrides._get_current_function_mode_stack()),
        ),
    }


def everything(subject: Subject) -> dict[str, Any]:
    holder = subject.objective and subject.objective.holder
    return {
        "model": module_state(subject.model),
        "loss": module_state(holder) if isinstance(holder, nn.Module) else None,
        "batches": [[(path, bits(tensor)) for path, tensor in leaves(batch)] for batch in subject.batches.kept],
        "global": global_state(),
    }


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The paths at which two states differ, so that a failure says what was left behind."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from differences(before.get(key), after.get(key), f"{path}/{key}")
    elif before != after:
        yield path


@pytest.fixture(autouse=True)
def unusual_random_state() -> None:
    """So that a probe that sets a common seed and forgets about it is seen."""
    random.seed(4711)
    np.random.seed(4711)
    torch.manual_seed(4711)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", KINDS)
def test_every_probe_leaves_everything_as_it_was(name: str) -> None:
    subject = zoo.subject(name, BRIEF)
    with_gradients(subject.model)
    for code in load_probes():
        before = everything(subject)
        examine(code, subject, BRIEF)
        assert list(differences(before, everything(subject))) == [], code


def with_gradients(model: nn.Module) -> None:
    """Give every other parameter a gradient, freeze one and put one module in eval mode, as a user may have."""
    for number, parameter in enumerate(model.parameters()):
        if number % 2 and parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, float(number))
    next(model.parameters()).requires_grad_(False)
    list(model.modules())[-1].eval()


def test_an_optimizer_that_the_user_has_begun_to_use_is_left_alone() -> None:
    subject = zoo.subject("mlp", BRIEF)
    used = torch.optim.AdamW(subject.model.parameters(), lr=1e-3)
    subject.compute_loss(subject.model, subject.batches.kept[0])[0].backward()
    used.step()
    subject = replace(subject, optimizer=optimizer_recipe(used, "used"))
    before = optimizer_state(used)
    for code in load_probes():
        examine(code, subject, BRIEF)
        assert list(differences(before, optimizer_state(used))) == [], code


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = {
        f"{number} {key}": attribute(value)
        for number, parameter in enumerate(optimizer.param_groups[0]["params"])
        for key, value in optimizer.state[parameter].items()
    }
    groups = [{key: attribute(value) for key, value in group.items()} for group in optimizer.param_groups]
    return state | {"groups": groups[0]}


class Touchy(nn.Module):
    """A model in which everything can be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.calls = 0
        self.history: list[Tensor] = [torch.zeros(2)]
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_whatever_a_probe_does_is_undone(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    criterion = nn.BCEWithLogitsLoss(weight=torch.ones(3))
    subject = Subject(
        model=Touchy(),
        batches=Batches(kept=((torch.rand(4, 3), torch.rand(4, 3)),), exhausted=True),
        split=lambda batch: Split((batch[0],), {}, batch[1]),
        objective=Objective("", lambda model, batch: (criterion(model(batch[0]), batch[1]), None), holder=criterion),
        optimizer=None,
    )

    def vandal(subject: Subject, effort: Effort) -> Outcome:
        vandalise(subject.model, criterion)
        for batch in subject.batches.first():
            batch[0].zero_()
        if fails:
            raise RuntimeError("as user code may")
        return Outcome("done")

    monkeypatch.setitem(registry._PROBES, "NDP04", vandal)
    before = everything(subject)
    if fails:
        with pytest.raises(RuntimeError, match="as user code may"):
            examine("NDP04", subject, BRIEF)
    else:
        examine("NDP04", subject, BRIEF)
    assert list(differences(before, everything(subject))) == []


def vandalise(model: Touchy, criterion: nn.BCEWithLogitsLoss) -> None:
    model(torch.rand(4, 3)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(float("nan"))
    model.linear.weight = nn.Parameter(torch.zeros(3, 3))
    model.linear.bias.data = torch.zeros(7)
    model.linear.bias.requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    model.add_module("extra", nn.Linear(1, 1))
    model.norm.eval()
    del model.norm.running_mean
    model.calls += 1
    model.history.append(torch.ones(1))
    model.history[0].add_(1)
    model.cache["x"] = torch.ones(1)
    model.double()
    criterion.weight.zero_()
    random.random()
    np.random.rand()
    torch.rand(1)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True


def test_the_comparison_sees_each_kind_of_change() -> None:
    """The checks above can fail: each way to leave something behind shows."""
    model = Touchy()
    for change, path in {
        "weight": lambda: model.linear.weight.data.view(-1)[0].add_(1),
        "grad": lambda: setattr(model.linear.weight, "grad", torch.zeros(3, 3)),
        "requires": lambda: model.linear.weight.requires_grad_(False),
        "buffer": lambda: model.norm.running_mean.add_(1),
        "mode": model.eval,
        "hook": lambda: model.register_forward_hook(lambda *_: None),
        "attribute": lambda: setattr(model, "calls", 5),
        "dtype": model.half,
    }.items():
        before = module_state(model)
        path()
        assert list(differences(before, module_state(model))), change
