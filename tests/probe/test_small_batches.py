"""NDP20: smaller batches that fail or lose a dimension are found, what is made for many examples is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import nn

from nndoctor.catalog import Example, load_rule

RULE = load_rule("NDP20")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "batch_size_in_the_model": "smaller batch fails",
    "deviation_of_the_batch": "smaller batch not finite",
    "squeeze_drops_batch": "batch dimension lost",
    "squeeze_in_features": "batch dimension lost",
}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP20", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP20", subject_of_source(tmp_path, example.code))[1]
    assert finding.source_line is not None
    assert finding.source_line.endswith("# <- NDP20")


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP20", zoo.subject(name))
    assert findings == []
    assert result.status in ("ok", "skipped")


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause_and_the_line(name: str) -> None:
    (finding,) = measured("NDP20", zoo.subject(name))[1]
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_that_batch_norm_refuses_one_example_is_only_said() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    result, findings = measured("NDP20", subject(build_model=lambda: model, loader=lambda: [(points(), labels())]))
    assert findings == []
    assert result.measurements["batch norm refuses one example"] is True
    assert "refuses a single example" in result.summary


def test_a_batch_of_one_leaves_nothing_to_try() -> None:
    made = subject(build_model=mlp, loader=lambda: [(points(1), labels(1))])
    assert measured("NDP20", made)[0].status == "skipped"


def test_sizes_are_those_of_the_batch() -> None:
    seen: list[int] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return self.body(x)  # type: ignore[no-any-return]

    made = subject(build_model=Watched, loader=lambda: [(points(8), labels(8))])
    seen.clear()
    measured("NDP20", made)
    assert seen == [8, 7, 1, 8, 7, 1]
