"""NDP07: inputs that no output follows, and inputs that only seem to be ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Severity

RULE = load_rule("NDP07")
LOCATED = ("class_token_alone", "dead_first_layer", "ignored_condition", "inputs_fade")


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_models_follow_their_inputs(name: str) -> None:
    result, findings = measured("NDP07", zoo.subject(name))
    assert (findings, result.status) == ([], "ok")
    assert result.measurements["effect of the inputs after training"] > 0.05
    assert len(result.series["loss"].values) == len(result.series["loss without inputs"].values) == 12


@pytest.mark.parametrize("name", LOCATED)
def test_the_place_where_the_input_is_lost_is_found(name: str) -> None:
    _, (finding,) = measured("NDP07", zoo.subject(name))
    assert finding.location is not None
    assert finding.location.path.endswith(f"probe/sick/{name}.py")
    assert finding.location.line == zoo.sick_line(name)


@pytest.mark.parametrize("name", ["mean_fifty", "nan_gradient", "rate_too_low", "unused_layer", "wrong_sign"])
def test_other_diseases_are_not_taken_for_it(name: str) -> None:
    assert measured("NDP07", zoo.subject(name))[1] == []


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    _, findings = measured("NDP07", subject_of_source(tmp_path, example.code))
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP07" in line]
    assert [finding.location and finding.location.line for finding in findings] == marked


def test_one_input_of_several_is_a_warning_and_all_of_them_an_error() -> None:
    _, (one,) = measured("NDP07", zoo.subject("ignored_condition"))
    assert (one.severity, one.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert one.message == "the outputs do not depend on the input `condition`"
    _, (every,) = measured("NDP07", zoo.subject("class_token_alone"))
    assert (every.severity, every.confidence) == (Severity.ERROR, Confidence.CERTAIN)


def test_an_input_with_one_value_cannot_be_judged() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 10))

    tokens = torch.ones(32, 4, dtype=torch.long)
    result, findings = measured("NDP07", subject(build_model=build, loader=lambda: [(tokens, labels())]))
    assert (findings, result.status) == ([], "skipped")
    assert "the same value everywhere" in result.summary


def test_without_a_loss_the_effect_is_measured_all_the_same() -> None:
    made = subject(build_model=mlp, loader=lambda: [[points()]])
    result, findings = measured("NDP07", made)
    assert (findings, result.summary, dict(result.series)) == ([], "1 of 1 inputs has an effect", {})
