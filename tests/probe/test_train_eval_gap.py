"""NDP10: what eval mode does otherwise than train mode is named, what it may do is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule

RULE = load_rule("NDP10")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "attention_dropout_always_on": "dropout in eval mode",
    "batchnorm_never_updates": "never updates",
    "dropout_always_on": "dropout in eval mode",
    "dropout_before_batchnorm": "dropout before batch norm",
    "eval_in_forward": "stuck mode",
    "shared_batchnorm": "shared",
    "stuck_in_eval_mode": "stuck mode",
}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP10", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP10", subject_of_source(tmp_path, example.code))[1]
    assert finding.source_line is not None
    assert finding.source_line.endswith("# <- NDP10")


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP10", zoo.subject(name))
    assert findings == []
    if result.measurements["batch norms"]:
        ratio = result.measurements["loss with running statistics"] / result.measurements["loss with batch statistics"]
        assert 0.85 < ratio < 2
        assert result.measurements["variance with dropout by that without"] == pytest.approx(1)


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause_and_the_line(name: str) -> None:
    (finding,) = measured("NDP10", zoo.subject(name))[1]
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_without_batch_norm_nothing_is_fitted() -> None:
    result, findings = measured("NDP10", subject(build_model=mlp, loader=lambda: [(points(), labels())]))
    assert findings == []
    assert result.steps == 2
    assert result.summary.startswith("both modes can be set")


class Shared(nn.Module):
    """One batch norm on two views of the same kind, as a Siamese net has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        views = [self.body(x), self.body(x + 0.1)]
        return self.head(torch.cat(views, dim=1))  # type: ignore[no-any-return]


class Deployed(nn.Module):
    """Probabilities in eval mode: another loss, and no gap."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits if self.training else logits.softmax(1)


@pytest.mark.parametrize("model", [Shared, Deployed])
def test_does_not_blame(model: type[nn.Module]) -> None:
    made = subject(build_model=model, loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())
    assert measured("NDP10", made)[1] == []


# ------------------------------------------------------------------------------------------------- dropped outputs


@pytest.mark.parametrize("name", ["dropout_on_logits", "dropout_on_forecast"])
def test_dropout_behind_the_last_layer_is_named_with_its_line(name: str) -> None:
    (finding,) = measured("NDP10", zoo.subject(name))[1]
    assert finding.cause == "dropout on the outputs"
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


@pytest.mark.parametrize("p", [0.0, 0.5], ids=["of nothing", "in front of the head"])
def test_dropout_that_no_output_shows(p: float) -> None:
    layers = [nn.Linear(16, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 10)]
    model = nn.Sequential(*layers) if p else nn.Sequential(*layers, nn.Dropout(0.0))
    made = subject(build_model=lambda: model, loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())
    assert measured("NDP10", made)[1] == []
