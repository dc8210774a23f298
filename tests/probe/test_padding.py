"""NDP24: padding that reaches real steps although the model is told of it, and padding that does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import measured, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.padding import find_padded

RULE = load_rule("NDP24")
SICK = [name for name, code in zoo.SICK.items() if code == "NDP24"]
PADDED = ("bert", "gru_tagger", "ignore_index")
LENGTHS = torch.tensor([3, 9, 5, 9])
TOKENS = torch.randint(1, 20, (4, 9), generator=torch.Generator().manual_seed(0)) * (torch.arange(9) < LENGTHS[:, None])


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_padding_does_not_matter_to_healthy_models(name: str) -> None:
    result, findings = measured("NDP24", zoo.subject(name))
    assert findings == []
    assert result.status == ("ok" if name in PADDED else "skipped")
    if name in PADDED:
        assert result.measurements["change without the padding"] < 1e-5
        assert result.measurements["change with other content there"] == 0


@pytest.mark.parametrize("name", SICK)
def test_the_line_that_reads_the_padding_is_found(name: str) -> None:
    _, (finding,) = measured("NDP24", zoo.subject(name))
    assert finding.location is not None
    assert finding.location.path.endswith(f"probe/sick/{name}.py")
    assert finding.location.line == zoo.sick_line(name)
    assert finding.evidence[0].message.endswith("here the padding reaches real steps")


@pytest.mark.parametrize("name", ["attention_batch_first", "causal_mask_missing", "unused_layer"])
def test_other_diseases_are_not_taken_for_it(name: str) -> None:
    assert measured("NDP24", zoo.subject(name))[1] == []


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP24", subject_of_source(tmp_path, example.code))
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP24" in line]
    assert [finding.location and finding.location.line for finding in findings] == marked
    assert result.status == ("finding" if marked else "ok")


class Mean(nn.Module):
    """A mean over all steps, whatever it is told about them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor, told: Tensor) -> Tensor:
        return self.head(self.embed(tokens).mean(1))  # type: ignore[no-any-return]


def given(told: Tensor, tokens: Tensor = TOKENS, model: Any = Mean) -> Any:
    return subject(build_model=model, loader=lambda: [{"tokens": tokens, "told": told, "y": torch.arange(4) % 2}])


@pytest.mark.parametrize(
    ("told", "told_by"),
    [
        pytest.param(LENGTHS, "lengths", id="lengths"),
        pytest.param((TOKENS > 0).long(), "mask", id="a mask of ones"),
        pytest.param(TOKENS == 0, "mask", id="true where there is padding"),
    ],
)
def test_padding_is_recognised(told: Tensor, told_by: str) -> None:
    padded = find_padded(given(told))
    assert (padded.steps, padded.real, padded.told_by) == (9, 3, told_by)
    (finding,) = measured("NDP24", given(told))[1]
    assert f"is given the {told_by}" in finding.message


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        pytest.param(LENGTHS, TOKENS.clone().fill_(3), id="one value everywhere"),
        pytest.param(torch.full((4,), 9), TOKENS, id="all of full length"),
        pytest.param((TOKENS > 0).flip(1), TOKENS.flip(1), id="padding in front"),
        pytest.param(torch.arange(36).view(4, 9) % 3 > 0, TOKENS, id="a mask of something else"),
    ],
)
def test_what_is_no_padding_behind_is_left_alone(told: Tensor, tokens: Tensor) -> None:
    result, findings = measured("NDP24", given(told, tokens))
    assert (findings, result.status) == ([], "skipped")
    assert "no mask and no lengths" in result.summary


def test_a_model_of_one_length_is_not_judged() -> None:
    class Fixed(Mean):
        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Parameter(torch.randn(9, 8))

        def forward(self, tokens: Tensor, told: Tensor) -> Tensor:
            return self.head((self.embed(tokens) + self.positions).mean(1))  # type: ignore[no-any-return]

    result, findings = measured("NDP24", given(LENGTHS, model=Fixed))
    assert (findings, result.status) == ([], "skipped")
    assert "one length" in result.summary
