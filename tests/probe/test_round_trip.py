"""NDP19: what a checkpoint does not hold is found, with the first operation that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule

RULE = load_rule("NDP19")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "annealed_temperature": "state outside",
    "layer_made_in_forward": "other names",
    "random_features_not_buffer": "state outside",
}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP19", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP19", subject_of_source(tmp_path, example.code))[1]
    assert finding.source_line is not None
    assert finding.source_line.endswith("# <- NDP19")


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_models_come_back_as_they_were(name: str) -> None:
    result, findings = measured("NDP19", zoo.subject(name))
    assert (result.status, findings) == ("ok", [])
    assert result.measurements["difference"] == 0


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause_and_the_line(name: str) -> None:
    (finding,) = measured("NDP19", zoo.subject(name))[1]
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_shapes_that_depend_on_chance_do_not_load() -> None:
    widths = iter([32, 64])
    made = subject(build_model=lambda: mlp(hidden=next(widths)), loader=lambda: [(points(), labels())])
    (finding,) = measured("NDP19", made)[1]
    assert finding.measurements["cause"] == "does not load"
    assert "size mismatch for 0.weight" in finding.message


class Counting(nn.Module):
    """Its outputs depend on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.calls = mlp(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.body(x) * self.calls  # type: ignore[no-any-return]


MODEL = mlp()


@pytest.mark.parametrize("model", [MODEL, lambda: MODEL, Counting], ids=["an object", "one for all", "never the same"])
def test_what_cannot_be_compared_is_skipped(model: Any) -> None:
    result, findings = measured("NDP19", subject(build_model=model, loader=lambda: [(points(), labels())]))
    assert (result.status, findings) == ("skipped", [])
