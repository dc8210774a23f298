"""NDP13: what cannot be repeated from a seed, and what only seems so."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule

RULE = load_rule("NDP13")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
SICK = [name for name, code in zoo.SICK.items() if code == "NDP13"]


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP13", subject_of_source(tmp_path, example.code))
    assert (findings, result.measurements["outputs and loss apart"]) == ([], 0)


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP13", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP13"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_models_give_the_same_bits(name: str) -> None:
    result, findings = measured("NDP13", zoo.subject(name))
    assert findings == []
    assert result.measurements["outputs and loss apart"] == result.measurements["gradients apart"] == 0


@pytest.mark.parametrize("name", SICK)
def test_finds_sick_models_at_their_line(name: str) -> None:
    (finding,) = measured("NDP13", zoo.subject(name))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_gradients_that_differ_alone_are_named_by_their_parameter() -> None:
    count = itertools.count(1)

    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            outputs = self.body(x)
            if outputs.requires_grad:
                outputs.register_hook(lambda gradient: gradient * next(count))
            return outputs  # type: ignore[no-any-return]

    made = subject(build_model=Hooked, loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())
    (finding,) = measured("NDP13", made)[1]
    assert "other gradients each time, first for `body.2.bias`" in finding.message
