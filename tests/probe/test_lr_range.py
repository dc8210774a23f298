"""NDP06: the band, the suggestion, and when the user's rate is worth a word."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import QUICK, labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.sweep import BELOW_ARGMIN, Sweep, has_diverged, smooth, without_batches

RULE = load_rule("NDP06")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}


def made(**attributes: Any) -> Any:
    given = {"build_model": mlp, "loader": lambda: [(points(), labels())], "loss": nn.CrossEntropyLoss()}
    return subject(**{**given, **attributes})


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP06", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    made_subject = subject_of_source(tmp_path, example.code)
    (finding,) = measured("NDP06", made_subject)[1]
    assert finding.location is not None
    assert finding.location.line == 1 + next(
        number for number, line in enumerate(example.code.splitlines()) if line.startswith("def optimizer")
    )


@pytest.mark.parametrize("name", ["mlp", "cnn", "nanogpt", "lstm", "lora", "zero_init_residual", "vae", "simclr"])
def test_is_silent_on_healthy_models(name: str) -> None:
    module = zoo.module(name)
    parts = {option: getattr(module, option) for option in ("loss", "optimizer", "step") if hasattr(module, option)}
    result, findings = measured("NDP06", subject(build_model=module.build_model, loader=module.loader, **parts))
    assert findings == []
    low, high = result.measurements["lowest rate that trains"], result.measurements["highest rate that trains"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < high
    assert low / 30 < result.measurements["rate"] < high


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2])
def test_ordinary_rates_of_adam_are_not_worth_a_word(rate: float) -> None:
    assert measured("NDP06", made(optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=rate)))[1] == []


@pytest.mark.parametrize("name", ["rate_too_high", "rate_too_low"])
def test_says_the_rate_and_a_better_one(name: str) -> None:
    module = zoo.module(name)
    parts = {"loss": module.loss, "optimizer": module.optimizer}
    result, (finding,) = measured("NDP06", subject(build_model=module.build_model, loader=module.loader, **parts))
    assert f"times too {name.rpartition('_')[2]}" in finding.message
    suggested = result.measurements["suggested rate"]
    assert isinstance(suggested, float)
    assert 1e-4 < suggested < 1e-1
    assert finding.treatment.startswith(f"Use {float(f'{suggested:.0e}'):.0e}".replace("e-0", "e-"))


def test_without_an_optimizer_adam_is_swept_and_nothing_is_judged() -> None:
    result, findings = measured("NDP06", made())
    assert findings == []
    assert result.measurements["rate"] is None
    assert result.summary.startswith("with Adam, falls from ")


def test_a_loss_that_does_not_fall_has_no_band() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.body(x)  # type: ignore[no-any-return]

    result, findings = measured("NDP06", made(build_model=Deaf))
    assert findings == []
    assert "lowers the loss by less than 2%: no rate stands out" in result.summary


def test_a_loss_without_gradient_is_skipped() -> None:
    result, findings = measured("NDP06", made(loss=lambda outputs, targets: outputs.detach().mean()))
    assert (result.status, findings) == ("skipped", [])


def test_a_sweep_that_runs_out_of_time_says_nothing() -> None:
    optimizer = zoo.module("rate_too_high").optimizer
    result, findings = measured("NDP06", made(optimizer=optimizer), replace(QUICK, seconds=0.0))
    assert findings == []
    assert "time was up" in result.summary


def test_the_sweep_is_a_curve_over_rates() -> None:
    result, _ = measured("NDP06", made())
    series = result.series["loss by rate"]
    assert series.x is not None
    assert len(series.x) == len(series.values)
    assert series.log_x
    steps = [math.log(later / earlier) for earlier, later in zip(series.x, series.x[1:], strict=False)]
    assert max(steps) == pytest.approx(min(steps))


# ----------------------------------------------------------------------------------------- reading a curve


RATES = tuple(10.0**exponent for exponent in range(-6, 2))


def test_reads_the_band_from_the_curve() -> None:
    sweep = Sweep(RATES, (2.0, 2.0, 1.99, 1.7, 1.0, 0.5, 0.9, 30.0), 8)
    assert (sweep.lowest, sweep.highest, sweep.suggestion) == (1e-3, 1e-1, pytest.approx(1e-1 / BELOW_ARGMIN))
    assert not sweep.is_bottomless


def test_a_valley_that_stays_low_is_entered_at_its_near_end() -> None:
    losses = (2.0, 2.0, 1.5, 0.02, 0.01, 0.01, 0.01, 0.009)
    assert Sweep(RATES, losses, 8).suggestion == pytest.approx(1e-3 / BELOW_ARGMIN)


def test_a_loss_without_floor_is_known_by_its_depth() -> None:
    assert Sweep(RATES, (2.0, 2.0, 1.0, -5.0, -50.0, -500.0, -5e3, -5e4), 8).is_bottomless


def test_smoothing_leaves_the_minimum_where_it_is() -> None:
    curve = [(step - 20) ** 2 / 10.0 for step in range(41)]
    assert smooth(curve, 4).index(min(smooth(curve, 4))) == 20


def test_differences_between_batches_are_taken_out() -> None:
    levels, fall = [1.0, 5.0, 3.0], [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]
    losses = [levels[step % 3] - fall[step] for step in range(6)]
    assert without_batches(losses, 3) == [3.0, 3.0, 3.0, 2.5, 2.5, 2.5]


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [([2.0, 1.0, 1.9], False), ([2.0, 1.0, 6.0], True), ([2.0, 2.1, 3.9], False), ([2.0, 2.1, 4.1], True)],
)
def test_divergence_is_a_rise_far_above_the_start(losses: list[float], diverged: bool) -> None:
    assert has_diverged(losses) is diverged
