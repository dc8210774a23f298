"""NDP14: schedules that do not fit their run, and the many that do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import nn
from torch.optim import lr_scheduler as schedulers

from nndoctor.catalog import Example, load_rule
from nndoctor.errors import UserError
from nndoctor.findings import Confidence
from nndoctor.probe.rates import Course, find_fault
from nndoctor.probe.subject import Subject
from nndoctor.scan.plan import Plan, plan_of

RULE = load_rule("NDP14")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "cosine_per_batch": "wrong pace",
    "cycle_of_epochs": "wrong pace",
    "decay_forgets_accumulation": "falls too early",
    "milestones_in_batches": "wrong pace",
    "warmup_longer_than_run": "warm-up",
}
BATCHES, EPOCHS = 4, 100
STEPS = BATCHES * EPOCHS


def made(scheduler: Any, epochs: int | None = EPOCHS, interval: str | None = None, **request: Any) -> Subject:
    """A model with SGD and the scheduler beside it, stepped once an epoch or for each batch."""

    def optimizer(model: nn.Module) -> Any:
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        given = scheduler(sgd)
        return sgd, {"scheduler": given, "interval": interval} if interval else given

    return subject(
        request={"epochs": epochs, **request},
        build_model=mlp,
        loader=lambda: [(points(), labels())] * BATCHES,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
    )


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP14", subject_of_source(tmp_path, example.code))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP14", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP14"))
    assert finding.location.line == marked


@pytest.mark.parametrize("name", CAUSES)
def test_finds_sick_models_at_their_line(name: str) -> None:
    assert zoo.SICK[name] == "NDP14"
    (finding,) = measured("NDP14", zoo.subject(name))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)
    assert finding.measurements["cause"] == CAUSES[name]


@pytest.mark.parametrize("name", ["cnn", "domain_adversarial"])
def test_is_silent_on_healthy_models_with_a_schedule(name: str) -> None:
    result, findings = measured("NDP14", zoo.subject(name))
    assert (result.status, findings) == ("ok", [])


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_all_healthy_models(name: str) -> None:
    assert measured("NDP14", zoo.subject(name))[1] == []


def warmed_cosine(sgd: Any) -> Any:
    parts = [schedulers.LinearLR(sgd, 0.01, total_iters=5), schedulers.CosineAnnealingLR(sgd, EPOCHS - 5)]
    return schedulers.SequentialLR(sgd, parts, [5])


HEALTHY = {
    "cosine": ("epoch", lambda sgd: schedulers.CosineAnnealingLR(sgd, EPOCHS)),
    "cosine that stops a little early": ("epoch", lambda sgd: schedulers.CosineAnnealingLR(sgd, EPOCHS - 5)),
    "cosine over batches": ("step", lambda sgd: schedulers.CosineAnnealingLR(sgd, STEPS)),
    "one cycle": ("step", lambda sgd: schedulers.OneCycleLR(sgd, 0.1, total_steps=STEPS)),
    "one cycle, three phases": ("step", lambda sgd: schedulers.OneCycleLR(sgd, 0.1, STEPS, three_phase=True)),
    "triangles": ("step", lambda sgd: schedulers.CyclicLR(sgd, 0.001, 0.1, step_size_up=30)),
    "warm restarts": ("epoch", lambda sgd: schedulers.CosineAnnealingWarmRestarts(sgd, 30)),
    "restarts by hand": (
        "epoch",
        lambda sgd: schedulers.LambdaLR(sgd, lambda n: 1 + math.cos(math.pi * (n % 30) / 30)),
    ),
    "steps": ("epoch", lambda sgd: schedulers.StepLR(sgd, 30)),
    "halved now and then": ("epoch", lambda sgd: schedulers.StepLR(sgd, 70, gamma=0.5)),
    "milestones": ("epoch", lambda sgd: schedulers.MultiStepLR(sgd, [50, 75, 90])),
    "exponential": ("epoch", lambda sgd: schedulers.ExponentialLR(sgd, 0.95)),
    "slow exponential": ("step", lambda sgd: schedulers.ExponentialLR(sgd, 0.9999)),
    "polynomial": ("step", lambda sgd: schedulers.PolynomialLR(sgd, STEPS, power=4)),
    "inverse root": ("step", lambda sgd: schedulers.LambdaLR(sgd, lambda n: min((n + 1) / 40, (40 / (n + 1)) ** 0.5))),
    "warm-up to a constant": ("step", lambda sgd: schedulers.LinearLR(sgd, 0.01, total_iters=40)),
    "warm-up and cosine": ("epoch", warmed_cosine),
    "constant": ("step", lambda sgd: schedulers.LambdaLR(sgd, lambda n: 1.0)),
    "range test": ("step", lambda sgd: schedulers.ExponentialLR(sgd, 1.02)),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", HEALTHY)
def test_is_silent_on_schedules_that_fit(name: str, known: bool) -> None:
    interval, scheduler = HEALTHY[name]
    result, findings = measured("NDP14", made(scheduler, interval=interval if known else None))
    assert (result.status, findings) == ("ok", [])
    series = result.series["learning rate"]
    assert len(series.values) == len(series.x or ())
    assert series.values[0] == result.measurements["rate at the start"]


@pytest.mark.parametrize(
    ("scheduler", "interval", "cause"),
    [
        (lambda sgd: schedulers.CosineAnnealingLR(sgd, 60), "epoch", "rises again"),
        (lambda sgd: schedulers.CosineAnnealingLR(sgd, 300), "epoch", "too long"),
        (lambda sgd: schedulers.CosineAnnealingLR(sgd, STEPS), "epoch", "wrong pace"),
        (lambda sgd: schedulers.CosineAnnealingLR(sgd, EPOCHS), "step", "wrong pace"),
        (lambda sgd: schedulers.ExponentialLR(sgd, 0.8), "step", "falls too early"),
        (lambda sgd: schedulers.ExponentialLR(sgd, 0.95), "step", "wrong pace"),
        (lambda sgd: schedulers.OneCycleLR(sgd, 0.1, total_steps=STEPS // 2), "step", "stops"),
        (lambda sgd: schedulers.OneCycleLR(sgd, 0.1, total_steps=STEPS), "epoch", "wrong pace"),
        (lambda sgd: schedulers.StepLR(sgd, 500), "epoch", "never changes"),
        (lambda sgd: schedulers.LinearLR(sgd, 0.01, total_iters=2000), "step", "warm-up"),
        (lambda sgd: schedulers.PolynomialLR(sgd, STEPS * 11 // 20), "step", "falls too early"),
    ],
)
def test_finds_schedules_that_do_not_fit(scheduler: Any, interval: str, cause: str) -> None:
    (finding,) = measured("NDP14", made(scheduler, interval=interval))[1]
    assert finding.measurements["cause"] == cause
    assert finding.confidence is Confidence.CERTAIN


def test_a_pace_that_nobody_knows_makes_it_likely_only() -> None:
    (finding,) = measured("NDP14", made(lambda sgd: schedulers.LinearLR(sgd, 0.01, total_iters=5000)))[1]
    assert finding.confidence is Confidence.LIKELY
    assert finding.message.startswith("at either pace")


def test_the_length_of_an_epoch_may_be_given() -> None:
    example = made(lambda sgd: schedulers.CosineAnnealingLR(sgd, 200), interval="step", steps_per_epoch=2)
    result, findings = measured("NDP14", example)
    assert (findings, result.measurements["steps"]) == ([], 200)


@pytest.mark.parametrize(
    ("scheduler", "epochs", "reason"),
    [
        (schedulers.ReduceLROnPlateau, EPOCHS, "follows a metric"),
        (lambda sgd: schedulers.StepLR(sgd, 3), None, "give --epochs"),
        (lambda sgd: None, EPOCHS, "no scheduler"),
    ],
)
def test_what_cannot_be_foreseen_is_skipped(scheduler: Any, epochs: int | None, reason: str) -> None:
    result, findings = measured("NDP14", made(scheduler, epochs))
    assert (result.status, findings) == ("skipped", [])
    assert reason in result.summary


def test_the_users_own_scheduler_and_optimizer_stay_as_they_are() -> None:
    model = mlp()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    mine = schedulers.CosineAnnealingLR(sgd, 10)
    before = mine.state_dict()
    example = subject(
        request={"epochs": 10},
        build_model=lambda: model,
        loader=lambda: [(points(), labels())],
        optimizer=sgd,
        scheduler=mine,
    )
    assert measured("NDP14", example)[0].status == "ok"
    assert (mine.state_dict(), sgd.param_groups[0]["lr"]) == (before, 0.1)
    assert all(one is other for one, other in zip(sgd.param_groups[0]["params"], model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (lambda optimizer: 3, "gives no scheduler"),
        (schedulers.StepLR, "makes no scheduler: .*step_size"),
        ("cosine", "gives no scheduler"),
    ],
)
def test_a_scheduler_that_is_none_is_refused(scheduler: Any, message: str) -> None:
    sgd = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)  # noqa: E731
    with pytest.raises(UserError, match=message):
        subject(build_model=mlp, loader=lambda: [(points(), labels())], optimizer=sgd, scheduler=scheduler)


def test_a_scheduler_needs_an_optimizer() -> None:
    with pytest.raises(UserError, match="name one with --optimizer"):
        subject(
            build_model=mlp,
            loader=lambda: [(points(), labels())],
            scheduler=lambda optimizer: schedulers.StepLR(optimizer, 3),
        )


def test_short_runs_are_for_trying_out() -> None:
    assert find_fault(Course((1.0,) * 10 + (0.1,) * 90), 4, "StepLR", 4) is None
    fault = find_fault(Course((1.0,) * 10 + (0.1,) * 90), 5, "StepLR", 5)
    assert fault is not None
    assert fault.needs == 10


LOOP = """\
import argparse
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
args = parser.parse_args()
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
for epoch in range({epochs}):
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        {inner}
    {outer}
"""


@pytest.mark.parametrize(
    ("script", "plan"),
    [
        (LOOP.format(epochs="args.epochs", inner="scheduler.step()", outer="pass"), Plan(12, None, per_batch=True)),
        (LOOP.format(epochs=7, inner="pass", outer="scheduler.step()"), Plan(7, None, per_batch=False)),
        (LOOP.format(epochs="n", inner="pass", outer="pass"), None),
        (LOOP.format(epochs=7, inner="pass", outer="pass").replace("for x, y in loader", "if True"), Plan(1, 7)),
        ("def broken(:", None),
    ],
)
def test_reads_the_plan_of_a_script(script: str, plan: Plan | None, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(script, encoding="utf-8")
    assert plan_of(path, tmp_path) == plan
