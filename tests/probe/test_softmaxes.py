"""Which softmax over which dimension is a fault, in outputs and in attention weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import zoo
from making import labels, measured, points, subject
from torch import Tensor, nn

from nndoctor.findings import Confidence, Finding
from nndoctor.probe.attention import misnormalised

T, WIDTH = 6, 8


def weighted(weigh: Callable[[Tensor], Tensor]) -> bool:
    """Whether weights made of scores (2, T, T) are reported when they gather values (2, T, WIDTH)."""
    scores, values = torch.randn(2, T, T), torch.randn(2, T, WIDTH)
    return misnormalised(lambda: weigh(scores) @ values, nn.Identity()) is not None


@pytest.mark.parametrize(
    "weigh",
    [
        lambda scores: scores.softmax(-1),
        lambda scores: torch.softmax(scores, dim=2),
        lambda scores: scores.softmax(1).transpose(1, 2),
        lambda scores: scores.softmax(1) / scores.softmax(1).sum(-1, keepdim=True),
        lambda scores: scores[:, :4].softmax(1),
        lambda scores: torch.nn.functional.log_softmax(scores, 1),
    ],
    ids=["keys", "keys by number", "transposed", "shared out again", "clusters", "logarithms"],
)
def test_weights_that_sum_to_one_where_they_are_summed(weigh: Callable[[Tensor], Tensor]) -> None:
    assert not weighted(weigh)


@pytest.mark.parametrize(
    "weigh",
    [
        lambda scores: scores.softmax(1),
        lambda scores: torch.nn.functional.softmax(scores, dim=-2),
        lambda scores: torch.nn.functional.dropout(scores.softmax(0), 0.1),
    ],
    ids=["queries", "queries from the end", "batch, through dropout"],
)
def test_weights_that_do_not(weigh: Callable[[Tensor], Tensor]) -> None:
    assert weighted(weigh)


def test_the_line_of_the_softmax_is_named() -> None:
    (finding,) = measured("NDP09", zoo.subject("softmax_over_queries"))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line("softmax_over_queries")
    assert finding.measurements["module"] == "attention"
    assert "dim=-1 in place of dim=1" in finding.treatment


class Positions(nn.Module):
    """(N, 16) to (N, 3, 4): probabilities over the dimension that is given, if any."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.body, self.dim = nn.Linear(16, 12), dim

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x).view(len(x), 3, 4)
        return logits if self.dim is None else logits.log_softmax(self.dim)


def found(dim: int | None) -> list[Finding]:
    targets = torch.stack([labels(classes=3)] * 4, dim=1)
    loss = nn.CrossEntropyLoss() if dim is None else nn.NLLLoss()
    return measured(
        "NDP03", subject(build_model=lambda: Positions(dim), loader=lambda: [(points(), targets)], loss=loss)
    )[1]


def test_outputs_over_another_dimension_than_the_classes() -> None:
    (finding,) = found(2)
    assert finding.cause == "softmax over the wrong dimension"
    assert finding.confidence is Confidence.CERTAIN
    assert "dimension 2, and the classes are in dimension 1" in finding.message


@pytest.mark.parametrize("dim", [None, 1], ids=["logits", "classes"])
def test_outputs_over_the_classes_or_over_nothing(dim: int | None) -> None:
    assert not [finding for finding in found(dim) if "dimension" in finding.cause]
