"""NDP17: what predictions do during a short fit, and that slow or lopsided learning is no fault."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import QUICK, labels, measured, mlp, points, subject, subject_of_source
from torch import nn

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.dynamics import follow

RULE = load_rule("NDP17")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
SICK = [name for name, code in zoo.SICK.items() if code == "NDP17"]


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP17", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP17", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP17"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP17", zoo.subject(name))
    assert findings == []
    assert result.measurements["loss at the end"] < result.measurements["loss at the start"]


@pytest.mark.parametrize("name", SICK)
def test_finds_sick_models_at_their_line(name: str) -> None:
    result, (finding,) = measured("NDP17", zoo.subject(name))
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)
    assert finding.measurements["cause"] == ("sorted labels" if name == "sorted_by_label" else "rate too high")
    assert finding.measurements["loss when treated"] < result.measurements["loss at the end"]


def test_a_regression_that_collapses_is_found() -> None:
    module = zoo.module("regression")
    made = subject(
        build_model=lambda: nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)),
        loader=module.loader,
        loss=module.loss,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1.0),
    )
    (finding,) = measured("NDP17", made)[1]
    assert "collapse: the outputs of different examples" in finding.message


def test_counts_flips_and_shares() -> None:
    made = subject(build_model=mlp, loader=lambda: [(points(), labels())], loss=nn.CrossEntropyLoss())
    fixed = made.batches.first(1)[0]
    still = follow(made, made.batches.cycle(12), fixed, 0.0, math.inf, steps=12)
    assert set(still.flips) == {0.0}
    assert len(set(still.dominance)) == len(set(still.spread)) == 1
    assert max(follow(made, made.batches.cycle(12), fixed, 10.0, math.inf, steps=12).flips) > 0
    moving = follow(made, made.batches.cycle(60), fixed, 10.0, math.inf, steps=60)
    assert moving.seen == (0, *range(49, 60))
    assert len(moving.flips) == len(moving.seen) - 2
    assert moving.dominance[-1] == pytest.approx(4 / 32)  # ten labels in turn over 32 examples


def test_without_time_nothing_is_judged() -> None:
    assert measured("NDP17", zoo.subject("collapse_of_lstm"), replace(QUICK, seconds=0.0))[1] == []


def test_a_frozen_model_is_skipped() -> None:
    assert measured("NDP17", zoo.subject("everything_frozen"))[0].status == "skipped"


def test_a_training_that_another_probe_has_seen_is_not_repeated() -> None:
    made = zoo.subject("cnn")
    measured("NDP10", made)
    known, alone = (measured("NDP17", of)[0] for of in (made, zoo.subject("cnn")))
    assert known.steps == 0 < alone.steps
    assert known.measurements == alone.measurements
