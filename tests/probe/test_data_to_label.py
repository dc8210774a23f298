"""NDP12: labels without relation to the inputs, and data that is merely hard, small or of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import measured, mlp, subject, subject_of_source
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.smoothers import MOST_FEATURES, above_chance, signals
from nndoctor.probe.subject import Subject

RULE = load_rule("NDP12")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
SICK = [name for name, code in zoo.SICK.items() if code == "NDP12"]


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(inputs: Tensor, labels: Tensor, size: int = 128, **attributes: Any) -> Subject:
    given = {
        "build_model": lambda: mlp(inputs[0].numel(), 10, 32),
        "loader": lambda: DataLoader(TensorDataset(inputs, labels), batch_size=size),
        "loss": nn.CrossEntropyLoss(),
    }
    return subject(**{**given, **attributes})


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP12", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP12", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP12"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP12", zoo.subject(name))
    assert findings == []
    if result.status == "ok":
        baselines = [figure for name, figure in result.measurements.items() if name != "examples"]
        assert max(float(figure or 0) for figure in baselines) > 8
        assert result.steps == 0


@pytest.mark.parametrize("name", SICK)
def test_finds_sick_models_at_their_line(name: str) -> None:
    (finding,) = measured("NDP12", zoo.subject(name))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)


def test_what_only_the_model_sees_is_enough() -> None:
    """A rising or falling edge somewhere in a long noise: one is the other backwards, so their spectra are the same."""

    class Finder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filters = nn.Conv1d(1, 32, 6)
            self.head = nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.filters(x).relu().amax(2))

    noise = 0.2 * torch.randn(384, 1, 800, generator=random())
    labels = torch.arange(384) % 2
    edge = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0, 0.0])
    places = torch.randint(0, 794, (384,), generator=random())
    for wave, label, place in zip(noise[:, 0], labels.tolist(), places.tolist(), strict=True):
        wave[place : place + 6] += edge if label else edge.flip(0)
    result, findings = measured("NDP12", made(noise, labels, build_model=Finder))
    assert float(result.measurements["trained model on held-out examples"] or 0) > 4
    assert findings == []


def test_few_examples_of_a_class_prove_nothing() -> None:
    points, labels = torch.randn(512, 16, generator=random()), torch.arange(512) % 40
    result, findings = measured("NDP12", made(points, labels, build_model=lambda: mlp(16, 40)))
    assert (result.status, findings) == ("ok", [])
    assert result.summary.endswith("512 examples are too few to judge")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nanogpt", "no label or number"),
        ("bert", "tokens or categories"),
        ("simclr", "no label or number"),
        ("gru_tagger", "tokens or categories"),
    ],
)
def test_what_no_baseline_can_judge_is_skipped(name: str, reason: str) -> None:
    result, _ = measured("NDP12", zoo.subject(name))
    assert result.status == "skipped"
    assert reason in result.summary


def test_inputs_that_are_all_the_same_are_no_matter_of_labels() -> None:
    result, _ = measured("NDP12", made(torch.ones(256, 16), torch.arange(256) % 10))
    assert (result.status, result.summary) == ("skipped", "the inputs are the same for every example")


def test_a_shifted_wave_is_seen_in_its_spectrum() -> None:
    time, shifts = torch.arange(64) / 64, torch.rand(256, 1, generator=random())
    labels = torch.arange(256) % 2
    waves = torch.sin(2 * torch.pi * (2 + labels[:, None]) * (time + shifts))
    found = list(signals(waves[:, None], nn.functional.one_hot(labels).double(), 0))
    linear = {signal.view: signal.deviations for signal in found if signal.method == "ridge regression"}
    assert linear["values"] < 4 < linear["spectrum along dimension 2"]


def test_many_features_are_hashed() -> None:
    labels = torch.arange(128) % 2
    wide = torch.randn(128, 3 * MOST_FEATURES, generator=random()) + labels[:, None]
    best = max(signal.deviations for signal in signals(wide, nn.functional.one_hot(labels).double(), 0))
    assert best > 10


def test_chance_is_no_deviation() -> None:
    centred = torch.randn(200, 1, generator=random()).double()
    assert above_chance(centred, centred, 0) > 10
    assert above_chance(-centred, centred, 0) < -10
    assert above_chance(torch.zeros_like(centred), centred, 0) == 0
