"""NDP01 and NDP02: the figures, the verdicts, and when there is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Severity

CODES = ("NDP01", "NDP02")
BAD = [pytest.param(code, example, id=example.title) for code in CODES for example in load_rule(code).bad]
GOOD = [pytest.param(code, example, id=example.title) for code in CODES for example in load_rule(code).good]


@pytest.mark.parametrize(("code", "example"), GOOD)
def test_is_silent_on_good_examples(code: str, example: Example, tmp_path: Path) -> None:
    made = subject_of_source(tmp_path, example.code)
    for each in CODES:
        assert measured(each, made)[1] == []


@pytest.mark.parametrize(("code", "example"), BAD)
def test_finds_bad_examples(code: str, example: Example, tmp_path: Path) -> None:
    result, findings = measured(code, subject_of_source(tmp_path, example.code))
    assert [finding.code for finding in findings] == [code]
    assert result.status == "finding"
    assert findings[0].location is not None
    assert findings[0].measurements["initial loss"] == result.measurements["initial loss"]


@pytest.mark.parametrize("name", ["mlp", "bert", "nanogpt", "cnn", "vae", "clip", "gru_tagger", "unet", "regression"])
def test_is_silent_on_healthy_models(name: str) -> None:
    module = zoo.module(name)
    parts = {option: getattr(module, option) for option in ("loss", "step") if hasattr(module, option)}
    made = subject(build_model=module.build_model, loader=module.loader, **parts)
    assert [measured(code, made)[1] for code in CODES] == [[], []]


@pytest.mark.parametrize("name", ["raw_inputs", "mean_fifty"])
def test_finds_sick_models(name: str) -> None:
    module = zoo.module(name)
    made = subject(build_model=module.build_model, loader=module.loader, loss=module.loss)
    code = zoo.SICK[name]
    assert [finding.code for finding in measured(code, made)[1]] == [code]


# -------------------------------------------------------------------------------------------------- figures


def constant(values: list[float]) -> nn.Module:
    """A model whose outputs are these, whatever the input."""
    model = nn.Linear(16, len(values))
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor(values))
    return model


def figures(model: nn.Module, targets: Tensor, loss: object) -> tuple[float, float, float]:
    made = subject(build_model=model, loader=lambda: [(points(len(targets)), targets)], loss=loss)
    found = measured("NDP01", made)[0].measurements
    names = ("initial loss", "loss of zero outputs", "loss of the best constant output")
    initial, zero, prior = (found[name] for name in names)
    assert isinstance(initial, float)
    assert isinstance(zero, float)
    assert isinstance(prior, float)
    return initial, zero, prior


UNEVEN = torch.tensor([0] * 6 + [1] * 2)
ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
HEIGHTS = torch.tensor([[1.0], [2.0], [3.0], [6.0]])


@pytest.mark.parametrize(
    ("loss", "targets", "zero", "prior"),
    [
        pytest.param(nn.CrossEntropyLoss(), UNEVEN, math.log(2), ENTROPY, id="cross-entropy"),
        pytest.param(nn.CrossEntropyLoss(reduction="sum"), UNEVEN, 8 * math.log(2), 8 * ENTROPY, id="summed"),
        pytest.param(
            nn.CrossEntropyLoss(torch.tensor([1.0, 3.0])), UNEVEN, math.log(2), math.log(2), id="weights that even out"
        ),
    ],
)
def test_references_of_classes(loss: nn.Module, targets: Tensor, zero: float, prior: float) -> None:
    assert figures(constant([0.0, 0.0]), targets, loss) == pytest.approx((zero, zero, prior), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "zero", "prior"),
    [
        pytest.param(nn.MSELoss(), 12.5, 3.5, id="squared error: the mean"),
        pytest.param(nn.L1Loss(), 3.0, 1.5, id="absolute error: the median"),
        pytest.param(nn.HuberLoss(), 2.5, 1.0625, id="Huber"),
        pytest.param(nn.PoissonNLLLoss(), 1.0, 3 - 3 * math.log(3), id="Poisson: the log of the mean"),
    ],
)
def test_references_of_numbers(loss: nn.Module, zero: float, prior: float) -> None:
    initial, zero_measured, prior_measured = figures(constant([0.0]), HEIGHTS, loss)
    assert (initial, zero_measured) == pytest.approx((zero, zero), rel=1e-5)
    assert prior_measured == pytest.approx(prior, rel=2e-3)


def test_references_of_probabilities() -> None:
    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = constant([0.0])

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.body(x))

    targets = (UNEVEN == 1).float()[:, None]
    assert figures(Probability(), targets, nn.BCELoss()) == pytest.approx((math.log(2), math.log(2), ENTROPY), rel=1e-4)


def test_a_loss_that_reads_more_than_the_output_has_no_references() -> None:
    made = subject(
        build_model=mlp,
        loader=lambda: [(points(), labels())],
        step=lambda model, batch: model(batch[0]).square().mean(),
    )
    result, findings = measured("NDP01", made)
    assert result.measurements["loss of zero outputs"] is None
    assert "there is no reference for this loss" in result.summary
    assert findings == []


# ------------------------------------------------------------------------------------------------- verdicts


def test_a_loss_that_falls_without_end_has_no_best_constant() -> None:
    targets = torch.tensor([0] * 100 + [1, 2] * 14)  # uneven enough to be remarked upon
    made = subject(build_model=lambda: mlp(classes=3), loader=lambda: [(points(128), targets)], loss=nn.NLLLoss())
    result, findings = measured("NDP02", made)
    assert (findings, result.measurements["loss of the best constant output"]) == ([], None)


def test_names_the_bias_and_its_value() -> None:
    model = nn.Sequential(nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 2))
    targets = torch.tensor([50.0, -20.0]) + points(32, 2)
    (finding,) = measured("NDP02", subject(build_model=model, loader=lambda: [(points(), targets)], loss=nn.MSELoss()))[
        1
    ]
    mean = ", ".join(f"{value:.4g}" for value in targets.mean(0).tolist())
    assert f"Start `2.bias` at {mean}" in finding.treatment
    assert finding.severity is Severity.WARNING


def test_rare_classes_are_advice_with_the_log_odds() -> None:
    positive = (torch.arange(110) % 11 == 0).float()[:, None]
    made = subject(
        build_model=lambda: mlp(classes=1), loader=lambda: [(points(110), positive)], loss=nn.BCEWithLogitsLoss()
    )
    (finding,) = measured("NDP02", made)[1]
    assert "log-odds of the classes: -2.303" in finding.treatment  # ln(1/10)
    assert finding.severity is Severity.INFO


def test_a_residual_regression_may_start_below_the_prior() -> None:
    class Persistence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(classes=1)

        def forward(self, x: Tensor) -> Tensor:
            return x[:, -1:] + 0.01 * self.body(x)  # type: ignore[no-any-return]

    series = points(64, 17).cumsum(1)
    made = subject(build_model=Persistence, loader=lambda: [(series[:, :16], series[:, 16:])], loss=nn.MSELoss())
    result, findings = measured("NDP01", made)
    assert result.measurements["initial loss"] < result.measurements["loss of the best constant output"]
    assert findings == []


def test_rare_tags_and_pixels_are_the_rule() -> None:
    def build() -> nn.Module:
        return nn.Conv2d(1, 2, 3, padding=1)

    masks = (torch.arange(4 * 64).view(4, 8, 8) % 20 == 0).long()
    made = subject(build_model=build, loader=lambda: [(points(4 * 8, 8).view(4, 1, 8, 8), masks)])
    assert measured("NDP02", made)[1] == []


@pytest.mark.parametrize("count", [1, 2])
def test_few_labels_prove_no_imbalance(count: int) -> None:
    targets = (torch.arange(12 * count) % 12 == 0).float()[:, None]
    made = subject(build_model=lambda: mlp(classes=1), loader=lambda: [(points(12 * count), targets)])
    assert measured("NDP02", made)[1] == []


def test_an_untrained_loss_that_is_nan_is_found() -> None:
    made = subject(build_model=lambda: constant([float("inf"), 0.0]), loader=lambda: [(points(8), UNEVEN)])
    (finding,) = measured("NDP01", made)[1]
    assert "the loss of the untrained model is" in finding.message


def test_measuring_leaves_the_model_alone() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    made = subject(build_model=model, loader=lambda: [(points(), labels())])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for code in CODES:
        measured(code, made)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
