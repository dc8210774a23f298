"""NDP21: what bfloat16 does to loss and gradients, and to the operation that it hurts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Severity

RULE = load_rule("NDP21")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP21", subject_of_source(tmp_path, example.code, amp=True))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP21", subject_of_source(tmp_path, example.code, amp=True))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP21"))
    assert finding.location.line == marked
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP21", zoo.subject(name))
    assert findings == []
    assert result.measurements["cosine of the gradients"] > 0.99


def test_finds_cancellation_at_its_line() -> None:
    (finding,) = measured("NDP21", zoo.subject("distances_in_half"))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line("distances_in_half")
    assert finding.confidence is Confidence.POSSIBLE  # nobody asked for autocast


def test_types_that_do_not_go_together_are_a_finding() -> None:
    class Stored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.memory = mlp(), torch.zeros(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            memory = self.memory.clone()
            memory[torch.arange(32)] = self.body(x)
            return memory

    made = subject(build_model=Stored, loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())
    (finding,) = measured("NDP21", made)[1]
    assert (
        "the model fails: RuntimeError: Index put requires the source and destination dtypes match" in finding.message
    )


def test_what_cannot_be_repeated_is_skipped() -> None:
    assert measured("NDP21", zoo.subject("entropy_in_the_loss"))[0].status == "skipped"
