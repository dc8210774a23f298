"""NDP15: terms of the loss, weight decay, and what is healthy about both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Severity
from nndoctor.probe.terms import break_down

RULE = load_rule("NDP15")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
SICK = [name for name, code in zoo.SICK.items() if code == "NDP15"]


def made(**attributes: Any) -> Any:
    return subject(**{"build_model": mlp, "loader": lambda: [(points(), labels())], **attributes})


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP15", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP15", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP15"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP15", zoo.subject(name))
    assert findings == []
    assert result.measurements["weight decay by data"] < 0.02


@pytest.mark.parametrize("name", SICK)
def test_finds_sick_models_at_their_line(name: str) -> None:
    (finding,) = measured("NDP15", zoo.subject(name))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def weights(model: nn.Module) -> Tensor:
    return sum(weight.square().sum() for weight in model.parameters())  # type: ignore[return-value]


def test_knows_terms_penalties_and_factors() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        outputs = model(batch[0])
        loss = F.cross_entropy(outputs, batch[1])
        loss += 0.5 * outputs.square().mean()
        return (loss + 1e-2 * weights(model)) / 2

    example = made(step=step)
    parts = break_down(example, example.batches.first(1)[0])
    assert float(parts.loss.detach()) == pytest.approx(sum(term.value for term in parts.terms))
    assert [term.is_weighted for term in parts.data] == [False, True]
    whole = 1e-2 * float(weights(example.model).detach()) / 2
    assert sum(term.value for term in parts.penalties) == pytest.approx(whole)
    matrices = [each for each in example.model.parameters() if each.ndim > 1]
    for matrix, gradient in zip(matrices, parts.gradients(parts.penalties, matrices), strict=True):
        assert torch.allclose(gradient, 1e-2 * matrix.detach())


def test_a_list_of_losses_is_taken_apart() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        outputs = model(batch[0])
        return torch.stack([F.cross_entropy(outputs, batch[1]), outputs.square().mean()]).mean()

    example = made(step=step)
    parts = break_down(example, example.batches.first(1)[0])
    assert len(parts.data) == 2
    assert sum(term.value for term in parts.data) == pytest.approx(float(parts.loss.detach()))


def test_says_what_both_decays_amount_to() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1]) + 1e-4 * weights(model)

    sgd = lambda model: torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)  # noqa: E731
    (finding,) = measured("NDP15", made(step=step, optimizer=sgd))[1]
    assert "weight_decay=0.0002, and by weight_decay=0.0001 of SGD" in finding.message
    assert finding.confidence is Confidence.CERTAIN


def test_a_sum_is_advice_for_adam_and_a_warning_for_sgd() -> None:
    loss = nn.CrossEntropyLoss(reduction="sum")
    for kind, severity in ((torch.optim.Adam, Severity.INFO), (torch.optim.SGD, Severity.WARNING)):
        optimizer = lambda model, kind=kind: kind(model.parameters(), lr=1e-3)  # noqa: E731
        result, (finding,) = measured("NDP15", made(loss=loss, optimizer=optimizer))
        assert finding.severity is severity
        assert result.measurements["loss of twice the batch by loss"] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize("decay", [0.01, 0.1, 1.0])
def test_common_decays_of_adamw_drown_nothing(decay: float) -> None:
    adamw = lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=decay)  # noqa: E731
    assert measured("NDP15", made(optimizer=adamw))[1] == []


def test_a_model_without_modules_has_no_penalties() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 10))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    def step(model: nn.Module, batch: Any) -> Tensor:
        first, second = batch[0] @ model.weight, batch[0] @ -model.weight
        return F.cross_entropy(first, batch[1]) + F.cross_entropy(second, batch[1])

    result, findings = measured("NDP15", made(build_model=Bare, step=step))
    assert (findings, result.measurements["penalties"]) == ([], 0)
