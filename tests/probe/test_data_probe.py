"""NDP11: the first batches as the network sees them, what is wrong with them, and what only looks wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Finding, Severity

RULE = load_rule("NDP11")
MESSAGES = {
    "constant_inputs": "all 128 examples have the same inputs",
    "label_too_high": "the targets of batch 2 hold 10, and the model has 10 outputs",
    "leaking_split": "29 of 64 validation examples are training examples too",
    "nan_in_data": "batch 2 holds NaN in 1 of 640 values of `0`",
    "oversampled_before_split": "validation examples are training examples too",
    "pixels_as_bytes": "pixels reach `first` as whole numbers",
    "rare_positives": "96% of the labels are 0",
    "same_sentence": "all 128 examples have the same inputs",
    "same_workers": "each of the 2 workers gives the same examples",
    "saturated_sigmoid": "inputs reach `hidden` unscaled",
    "sorted_by_label": "the labels come in runs: 3 changes",
    "sorted_labels": "the labels come in runs: 9 changes",
    "workers_draw_alike": "each of the 2 workers gives the same examples",
}
RAW = ["raw_inputs"]  # found by its first loss too


def found(made: Any) -> list[Finding]:
    return measured("NDP11", made)[1]


def given(inputs: Tensor, targets: Tensor, model: Any = None, **options: Any) -> Any:
    return subject(build_model=model or mlp, loader=lambda: [(inputs, targets)], **options)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_data_are_in_order(name: str) -> None:
    result, findings = measured("NDP11", zoo.subject(name))
    assert (findings, result.status) == ([], "ok")
    assert result.measurements["different examples in a batch"] > 0.8
    assert 0.5 < result.measurements["deviation of the inputs"] < 1.5


@pytest.mark.parametrize("name", [*MESSAGES, *RAW])
def test_sick_data_are_found_and_the_loader_is_shown(name: str) -> None:
    (finding,) = found(zoo.subject(name))
    assert MESSAGES.get(name, "pixels reach `0`") in finding.message
    assert finding.source_line.startswith("def loader():")


@pytest.mark.parametrize("name", [name for name in zoo.SICK if name not in {*MESSAGES, *RAW}])
def test_other_diseases_are_not_in_the_data(name: str) -> None:
    assert found(zoo.subject(name)) == []


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP11" in line]
    findings = found(subject_of_source(tmp_path, example.code))
    assert [finding.location and finding.location.line for finding in findings] == marked


# ------------------------------------------------------------------------------------------------- values


def test_pixels_that_were_divided_twice() -> None:
    pictures = torch.randint(0, 256, (32, 16)).float() / 255 / 255
    (finding,) = found(given(pictures, labels()))
    assert "divided by 255 twice" in finding.message


def test_features_of_any_size_are_named_with_their_scale() -> None:
    (finding,) = found(given(30_000 + 9_000 * points(), labels()))
    assert "inputs reach `0` unscaled: mean 3.056e+04" in finding.message


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(points() * 40, id="decibels"),
        pytest.param(torch.randint(0, 9, (32, 16)).float(), id="small counts"),
        pytest.param(F.one_hot(torch.arange(32) % 16, 16).float(), id="one-hot"),
        pytest.param(points().abs() / 500, id="small values that are no pixels"),
    ],
)
def test_unusual_values_are_left_alone(inputs: Tensor) -> None:
    assert found(given(inputs, labels())) == []


def test_missing_values_that_the_model_fills_are_left_alone() -> None:
    class Filling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.nan_to_num())  # type: ignore[no-any-return]

    assert found(given(points().masked_fill(points() > 1, float("nan")), labels(), Filling)) == []


# ------------------------------------------------------------------------------------------------- repetition


def test_a_batch_of_few_different_examples() -> None:
    (finding,) = found(given(points(4).repeat(8, 1), labels()))
    assert "only 12% of the examples in a batch are different" in finding.message


def test_one_example_repeated_on_purpose_is_not_certain() -> None:
    (finding,) = found(given(points(1).repeat(32, 1), torch.zeros(32, dtype=torch.long)))
    assert finding.confidence is Confidence.LIKELY


def test_the_whole_data_set_in_every_batch_is_no_repetition() -> None:
    assert found(subject(build_model=mlp, loader=lambda: [(points(), labels())] * 4)) == []


def test_a_separate_validation_set_is_healthy() -> None:
    inputs, targets = points(96), labels(96)

    def loader() -> tuple[Any, Any]:
        parts = TensorDataset(inputs[:64], targets[:64]), TensorDataset(inputs[64:], targets[64:])
        return DataLoader(parts[0], batch_size=16), DataLoader(parts[1], batch_size=16)

    result, findings = measured("NDP11", subject(build_model=mlp, loader=loader))
    assert (findings, result.measurements["validation examples seen in training"]) == ([], 0)


# ------------------------------------------------------------------------------------------------- labels


def test_one_label_of_many_for_a_long_time() -> None:
    (finding,) = found(given(points(64), torch.full((64,), 3)))
    assert "the first 64 examples all have label 3 of 10" in finding.message


def test_labels_to_be_ignored_are_not_outside() -> None:
    targets = labels().where(torch.arange(32) % 4 > 0, 255)
    assert found(given(points(), targets, loss=nn.CrossEntropyLoss(ignore_index=255))) == []


def test_a_loss_that_weighs_the_classes_knows_that_they_are_rare() -> None:
    rare = (torch.arange(128) % 32 == 0).float()[:, None]
    made = given(points(128), rare, lambda: mlp(classes=1), loss=nn.BCEWithLogitsLoss())
    (finding,) = found(made)
    assert finding.severity is Severity.INFO
    assert "0.516 to 16" in finding.treatment
    weighted = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([31.0]))
    assert found(given(points(128), rare, lambda: mlp(classes=1), loss=weighted)) == []
