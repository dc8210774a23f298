"""The tables of torch's names, layers and operations, held against the torch that is installed."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nndoctor.scan import torch_api
from nndoctor.scan.torch_api import names, operations
from nndoctor.scan.torch_api.training import TORCH_OPTIMIZERS

MODULE_CLASSES = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
PLUGIN_METHODS = {"npu"}  # torch_npu adds it to tensors
RECURRENT = ("LSTM", "GRU", "RNN")  # their signatures say no more than *args
NOT_IN_TORCH = {"sigmoid_focal_loss"}  # a loss of torchvision
FUNCTIONS = (torch, torch.Tensor, nn.functional, np, np.ndarray)


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or what a module or class holds."""
    try:
        importlib.import_module(dotted)
    except ImportError:
        owner, _, last = dotted.rpartition(".")
        return bool(owner) and hasattr(importlib.import_module(owner), last)
    return True


@pytest.mark.parametrize("name", sorted({*torch_api.LAYERS, *torch_api.CONTAINERS}))
def test_a_layer_is_a_module_of_torch(name: str) -> None:
    assert issubclass(getattr(nn, name), nn.Module)


def test_every_layer_of_torch_is_known() -> None:
    modules = {n for n, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    unknown = modules - set(torch_api.LAYERS) - torch_api.CONTAINERS - set(torch_api.LOSSES)
    assert unknown <= {
        "Module",
        "Container",
        "RNNBase",
        "RNNCellBase",
        "DataParallel",
        "CrossMapLRN2d",
        "AdaptiveLogSoftmaxWithLoss",  # an output layer that returns its own loss
        "LinearCrossEntropyLoss",  # a layer and a loss in one
        *(f"MaxUnpool{n}d" for n in (1, 2, 3)),
    }


@pytest.mark.parametrize("layer", sorted(set(torch_api.LAYERS) - set(RECURRENT)))
def test_parameters_stand_at_their_places(layer: str) -> None:
    expected = torch_api.parameters_of(layer)
    assert tuple(inspect.signature(getattr(nn, layer)).parameters)[: len(expected)] == expected


@pytest.mark.parametrize("layer", RECURRENT)
def test_parameters_of_a_recurrent_layer_stand_at_their_places(layer: str) -> None:
    values = {"input_size": 3, "hidden_size": 4, "num_layers": 2, "nonlinearity": "relu", "bias": False}
    values |= {"batch_first": True, "dropout": 0.5, "bidirectional": True}
    given = {name: values[name] for name in torch_api.parameters_of(layer)}
    made = getattr(nn, layer)(*given.values())
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize("loss", sorted(set(torch_api.LOSSES) - NOT_IN_TORCH))
def test_a_loss_is_a_class_or_function_of_torch(loss: str) -> None:
    assert hasattr(nn if loss[0].isupper() else nn.functional, loss)


@pytest.mark.parametrize("name", sorted(torch_api.MODULE_METHODS))
def test_a_method_of_modules_exists(name: str) -> None:
    assert any(hasattr(cls, name) for cls in MODULE_CLASSES)


@pytest.mark.parametrize("name", sorted(operations._METHODS - PLUGIN_METHODS))
def test_a_method_of_tensors_exists(name: str) -> None:
    assert hasattr(torch.Tensor, name) or hasattr(np.ndarray, name)


@pytest.mark.parametrize("name", sorted(operations._RENAMED))
def test_another_name_of_an_operation_exists(name: str) -> None:
    assert any(hasattr(owner, name) for owner in FUNCTIONS)


@pytest.mark.parametrize("name", sorted(n for n in operations._BY_FULL_NAME if not n.startswith("einops")))
def test_a_function_known_by_its_full_name_exists(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("name", sorted(torch_api.CLIPS | torch_api.NO_GRAD | torch_api.AUTOGRAD_FUNCTIONS))
def test_a_function_of_training_exists(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("name", sorted(torch_api.SCALERS))
def test_a_scaler_exists(name: str) -> None:
    assert exists(name)


def test_every_optimizer_of_torch_is_known() -> None:
    assert {name for name, value in vars(torch.optim).items() if inspect.isclass(value)} == TORCH_OPTIMIZERS


@pytest.mark.parametrize("name", sorted({*names._PREFIXES, *names._ALIASES}))
def test_an_old_name_stands_for_one_that_exists(name: str) -> None:
    new = torch_api.canonical(name)
    if not name.startswith("torch."):
        assert new == "lightning"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert exists(name)
        assert exists(new)


@pytest.mark.parametrize("module", sorted(names._STAR))
def test_a_star_import_binds_what_is_there(module: str) -> None:
    found = importlib.import_module(module)
    public = getattr(found, "__all__", None) or dir(found)
    missing = set(torch_api.star_names(module)) - set(public)
    assert missing <= {"sigmoid_focal_loss"}


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("torch.nn.functional.relu_", "relu"),
        ("torch.concat", "cat"),
        ("torch.bmm", "@"),
        ("torch.norm", "vector_norm"),
        ("torch.nn.functional.layer_norm", "norm"),
        ("torch.nn.functional.unfold", "im2col"),
        ("numpy.repeat", "repeat_interleave"),
        ("einops.rearrange", "rearrange"),
        ("torch.softmax", "softmax"),
        ("torch.utils.data.DataLoader", None),
        ("math.log", None),
    ],
)
def test_a_function_is_known_by_its_operation(name: str, operation: str | None) -> None:
    assert torch_api.operation(name) == operation


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("norm", "vector_norm"),
        ("mul_", "*"),
        ("expand", "expand"),
        ("unfold", "unfold"),
        ("stack", None),
        ("fit", None),
    ],
)
def test_a_method_is_known_by_its_operation(name: str, operation: str | None) -> None:
    assert torch_api.method_operation(name) == operation


def test_no_imported_name_passes_for_an_operation_of_the_interpreter() -> None:
    """`from torch import super` makes no call of `super()`."""
    sources = Path(inspect.getfile(torch_api)).parents[1].rglob("*.py")
    texts = [path.read_text(encoding="utf-8") for path in sources]
    made = {name for text in texts for name in re.findall(r'(?:\bTerm|\.term|\.pure)\(\s*"([a-z_]+)"', text)}
    own = {name for name in made if not any(hasattr(owner, name) for owner in FUNCTIONS)} - {"not", "and"}
    assert "super" in own
    assert {name for name in own if torch_api.operation(f"torch.{name}")} == set()
