"""NDP22: a loader that starves the step, what is no such loader, and the memory of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nndoctor.catalog import Example, load_rule
from nndoctor.probe.batches import Batches, fetch
from nndoctor.probe.pace import Times, time_steps
from nndoctor.probe.probes.speed import starves, typical_wait

RULE = load_rule("NDP22")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
STEP = Times(forward=0.004, backward=0.005, update=0.001)
LOADER = Batches(kept=(), exhausted=True, is_loader=True)


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP22", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP22", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP22"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP22", zoo.subject(name))
    assert (result.status, findings) == ("ok", [])
    assert set(result.timings) == {"loader", "forward", "backward", "step"}


def test_finds_the_sick_model_at_its_line() -> None:
    (finding,) = measured("NDP22", zoo.subject("slow_loader"))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line("slow_loader")
    assert finding.is_advice


@pytest.mark.parametrize(
    ("batches", "wait", "expected"),
    [
        (LOADER, 0.1, True),
        (LOADER, 0.02, False),
        (Batches((), True, is_loader=True, workers=2), 0.1, False),
        (Batches((), True), 0.1, False),
    ],
    ids=["far slower", "a little slower", "with workers", "no DataLoader"],
)
def test_only_a_loader_without_workers_that_is_far_slower_starves(
    batches: Batches, wait: float, expected: bool
) -> None:
    assert starves(batches, wait, STEP) is expected


def test_what_takes_no_time_is_no_wait() -> None:
    assert not starves(LOADER, 0.005, Times(0.0001, 0.0001, 0.0001))


def test_the_first_batch_does_not_count() -> None:
    assert typical_wait((9.0, 1.0, 2.0, 3.0)) == 2.0
    assert typical_wait((9.0, 1.0)) is None


def test_every_batch_was_waited_for() -> None:
    loader = DataLoader(TensorDataset(points(96)), batch_size=32)
    batches = fetch(loader, 2, torch.device("cpu"), seconds=60)
    assert (batches.is_loader, len(batches.waits)) == (True, 2)


def test_the_memory_of_a_batch_is_counted_to_the_byte() -> None:
    adam = lambda model: torch.optim.Adam(model.parameters(), lr=1e-3)  # noqa: E731
    made = subject(
        build_model=lambda: mlp(16, 10, 64),
        loader=lambda: [(points(), labels())],
        loss=nn.CrossEntropyLoss(),
        optimizer=adam,
    )
    with made.sandbox():
        _, memory = time_steps(made, made.batches.first(1)[0], deadline=float("inf"))
    parameters = 4 * (16 * 64 + 64 + 64 * 10 + 10)
    assert memory.lasting == pytest.approx(4 * parameters, abs=64)  # with gradients, two moments and their counters
    points_, hidden, scores, classes = 32 * 16 * 4, 32 * 64 * 4, 32 * 10 * 4, 32 * 8
    assert memory.activations == pytest.approx(points_ + hidden + scores + classes, abs=8)


def test_the_largest_batch_grows_with_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def largest(total: int) -> Any:
        monkeypatch.setattr("nndoctor.probe.probes.speed.total_memory", lambda device: total)
        return measured("NDP22", zoo.subject("mlp"))[0].measurements["largest batch, estimated"]

    assert largest(2**34) == pytest.approx(2 * largest(2**33), rel=0.1)
    assert largest(2**10) == 0


def test_a_frozen_model_is_skipped() -> None:
    assert measured("NDP22", zoo.subject("everything_frozen"))[0].status == "skipped"
