"""NDP09: dead, saturated, vanishing, exploding and constant layers are named; healthy ones are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.activity import watch

RULE = load_rule("NDP09")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "batchnorm_hides_large_weights": "weights hidden by batch norm",
    "batchnorm_hides_small_weights": "weights hidden by batch norm",
    "dead_relu_conv": "dead units",
    "dead_relu_init": "dead units",
    "exploding_cell": "exploding",
    "exploding_init": "exploding",
    "exploding_rnn": "exploding",
    "norm_of_one_feature": "constant",
    "saturated_sigmoid": "saturated units",
    "saturated_tanh": "saturated units",
    "softmax_of_one_score": "constant",
    "vanishing_sigmoid": "vanishing",
}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP09", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP09", subject_of_source(tmp_path, example.code))[1]
    assert finding.source_line is not None
    assert finding.source_line.endswith("# <- NDP09")


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP09", zoo.subject(name))
    assert findings == []
    assert result.measurements["largest share of dead units"] < 0.3
    assert result.measurements["largest share of saturated units"] < 0.1
    assert result.measurements["largest layer by the first"] < 10


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause_and_the_line(name: str) -> None:
    (finding,) = measured("NDP09", zoo.subject(name))[1]
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_rectifiers_of_functions_and_of_modules_are_read_alike() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            first, _, last = self.body  # type: ignore[misc]
            return last(torch.relu(first(x)))  # type: ignore[no-any-return]

    shares = [
        measured("NDP09", subject(build_model=build, loader=lambda: [(points(), labels())]))[0]
        for build in (mlp, Functional)
    ]
    assert shares[0].measurements == shares[1].measurements


def test_closed_units_are_counted_exactly() -> None:
    model = mlp()
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        model[0].bias[:16] = -100
        model[0].bias[16:] = 100
    result, findings = measured("NDP09", subject(build_model=lambda: model, loader=lambda: [(points(), labels())]))
    assert result.measurements["largest share of dead units"] == 0.25
    assert findings == []


def test_sizes_are_those_before_an_operation_works_in_place() -> None:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(inplace=True), nn.Linear(64, 10))
    made = subject(build_model=lambda: model, loader=lambda: [(points(), labels())])
    with made.sandbox():
        first = watch(made, made.batches.first(1))[0]
    assert first.size == pytest.approx(float(model[0](points()).detach().square().mean().sqrt()))


def test_a_model_without_a_loss_is_measured_by_its_outputs() -> None:
    made = subject(build_model=mlp, loader=lambda: [(points(), ["a"] * 32)])
    assert made.objective is None
    result, findings = measured("NDP09", made)
    assert findings == []
    assert result.measurements["layers"] == 2


def stack(depth: int, start: Any, width: int = 64) -> nn.Module:
    """Layers with a batch norm behind each, whose weights `start` draws."""
    parts = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())]
    for part in parts:
        if isinstance(part, nn.Linear):
            start(part.weight)
    return nn.Sequential(*parts, nn.Linear(width, 10))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "start",
    [
        nn.init.kaiming_normal_,
        nn.init.xavier_uniform_,
        nn.init.orthogonal_,
        lambda weight: nn.init.normal_(weight, std=0.02),
        lambda weight: weight,
    ],
    ids=["kaiming", "xavier", "orthogonal", "0.02", "of torch"],
)
def test_ordinary_weights_behind_batch_norms_are_not_hidden(start: Any, seed: int) -> None:
    made = subject(
        request={"seed": seed},
        build_model=lambda: stack(12, start),
        loader=lambda: [(points(32, 64), labels())],
        loss=nn.CrossEntropyLoss(),
    )
    result, findings = measured("NDP09", made)
    assert findings == []
    assert 0.1 < float(result.measurements["gain of a layer"] or 0) < 2


def test_hidden_weights_say_which_way_and_how_far() -> None:
    (finding,) = measured("NDP09", zoo.subject("batchnorm_hides_large_weights"))[1]
    assert "hide weights that start too large: a layer multiplies the size of its inputs by 1" in finding.message
    assert "learn slower" in finding.treatment
    (finding,) = measured("NDP09", zoo.subject("batchnorm_hides_small_weights"))[1]
    assert "hide weights that start too small" in finding.message
    assert "learn faster" in finding.treatment


def test_the_batch_norms_are_back_afterwards() -> None:
    made = zoo.subject("batchnorm_hides_large_weights")
    measured("NDP09", made)
    norms = [module for module in made.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any("forward" in vars(norm) for norm in norms)


def test_numbers_that_overflow_without_batch_norms() -> None:
    made = subject(
        build_model=lambda: stack(30, lambda weight: nn.init.normal_(weight, std=40.0)),
        loader=lambda: [(points(32, 64), labels())],
        loss=nn.CrossEntropyLoss(),
    )
    (finding,) = measured("NDP09", made)[1]
    assert finding.message.endswith("without the norms the layers overflow")
