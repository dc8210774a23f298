"""NDP06: which learning rates train, and is the user's among them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nndoctor.findings import Figure, Finding, Series
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.optimizers import learning_rate
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import Sweep, Trial, constant_rate, sweep
from nndoctor.thresholds import Threshold

FAR = Threshold(
    "NDP06",
    "far",
    30.0,
    "Good rates span a decade and a half around the suggestion; a rate this many times away is worth a trial.",
)
TRIAL_STEPS = 30
TOO_SLOW = Threshold(
    "NDP06",
    "too-slow",
    1e-3,
    "A rate that brings less than this share of what the suggested one brings needs 30,000 steps for what "
    "takes 30. Fine tuning at 2e-5 and Adam at 1e-5 stay above.",
)
NO_FALL = Threshold(
    "NDP06",
    "no-fall",
    0.02,
    "A fall smaller than this share of the initial loss is noise between batches, and no rate is better than another.",
)
# The first step moves healthy weights by 0 to 0.15 times their norm; at a rate 1000 times too high, by 13 times.
LARGE_UPDATE = 1.0
TIME_SHARE = 0.6  # of the probe's deadline; a slow model gets fewer steps


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the user's rate, and the trials that show it."""

    word: str  # "high" or "low"
    still: Trial  # at rate 0, on the same batches and random numbers
    yours: Trial
    suggested: Trial


@probe("NDP06")
def lr_range(subject: Subject, effort: Effort) -> Outcome:
    """Exponential sweep with the user's optimizer, or Adam; a far rate is tried out before it is judged."""
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        raise NotApplicableError("every parameter is frozen, so no rate moves anything")
    deadline = time.monotonic() + TIME_SHARE * effort.seconds
    with subject.sandbox():
        swept = sweep(subject, effort.sweep, deadline)
    if time.monotonic() > deadline and swept.steps < effort.sweep:
        return _unfinished(swept)
    if len(swept.rates) < 2 or not swept.fall > NO_FALL.value * abs(swept.start):
        return _flat(swept)
    rate, name = _user_rate(subject)
    far = rate is not None and not swept.suggestion / FAR.value <= rate <= swept.suggestion * FAR.value
    verdict = _try_out(subject, swept, rate, deadline) if far and rate is not None else None
    measurements = _figures(swept, rate, name)
    return Outcome(
        summary=_summary(swept, rate, name),
        findings=(_finding(subject, swept, rate, verdict, measurements),) if verdict and rate is not None else (),
        measurements=measurements,
        series={"loss by rate": _series(swept, rate)},
        steps=swept.steps + (3 * TRIAL_STEPS if far else 0),
    )


def _user_rate(subject: Subject) -> tuple[float | None, str]:
    optimizer = subject.make_optimizer(subject.model)
    if optimizer is None:
        return None, "Adam"
    return learning_rate(optimizer), type(optimizer).__name__


def _flat(swept: Sweep) -> Outcome:
    if not swept.smoothed:
        raise NotApplicableError("the loss is not finite before the first step")
    band = f"{_short(swept.rates[0])} to {_short(swept.rates[-1])}"
    text = f"one step a rate from {band} lowers the loss by less than {NO_FALL.value:.0%}: no rate stands out"
    return Outcome(summary=text, series={"loss by rate": _series(swept, None, trains=False)}, steps=swept.steps)


def _unfinished(swept: Sweep) -> Outcome:
    text = f"time was up at rate {_short(swept.rates[-1])}, so nothing can be said; --effort full waits longer"
    return Outcome(summary=text, series={"loss by rate": _series(swept, None, trains=False)}, steps=swept.steps)


def _try_out(subject: Subject, swept: Sweep, rate: float, deadline: float) -> Verdict | None:
    """Confirm that a far rate trains badly: schedules and warm-up make many a far rate right.

    Compared with a run at rate 0 on the same batches and random numbers, so that a small fall is not lost in noise.
    """
    trials = []
    for each in (0.0, rate, swept.suggestion):
        with subject.sandbox():
            trials.append(constant_rate(subject, each, TRIAL_STEPS, deadline))
    still, yours, suggested = trials
    if time.monotonic() > deadline:
        return None  # the trials were cut short
    if rate > swept.suggestion and (not yours.end < still.end or yours.first_update > LARGE_UPDATE):
        return Verdict("high", *trials)
    slow = still.end - yours.end < TOO_SLOW.value * (still.end - suggested.end)
    if rate < swept.suggestion and slow and not swept.is_bottomless:
        return Verdict("low", *trials)
    return None


def _figures(swept: Sweep, rate: float | None, name: str) -> dict[str, Figure]:
    return {
        "optimizer": name,
        "rate": rate,
        "suggested rate": swept.suggestion,
        "lowest rate that trains": swept.lowest,
        "highest rate that trains": swept.highest,
        "initial loss": swept.start,
        "lowest loss of the sweep": min(swept.smoothed),
    }


def _summary(swept: Sweep, rate: float | None, name: str) -> str:
    band = f"falls from {_short(swept.lowest)} to {_short(swept.highest)}; use {_short(swept.suggestion)}"
    return f"with {name}, {band}" if rate is None else f"yours {_short(rate)}; {band}"


def _series(swept: Sweep, rate: float | None, *, trains: bool = True) -> Series:
    """With the rates that train, unless the loss fell at none."""
    marks = {"suggested": swept.suggestion} if trains else {}
    return Series(
        values=swept.smoothed,
        label="smoothed loss" if rate is None else f"smoothed loss (your rate is {_short(rate)})",
        x=swept.rates,
        x_label="learning rate",
        log_x=True,
        references={"start": swept.start} if swept.smoothed else {},
        y_label="loss",
        marks=marks if rate is None else {**marks, "yours": rate},
        band=(swept.lowest, swept.highest) if trains else None,
    )


def _finding(subject: Subject, swept: Sweep, rate: float, verdict: Verdict, measurements: dict[str, Figure]) -> Finding:
    suggested = _short(swept.suggestion)
    recipe = subject.optimizer
    place = recipe if recipe and recipe.location else subject
    return finding(
        "NDP06",
        f"the learning rate {_short(rate)} is {_factor(rate, swept.suggestion)} times too {verdict.word}: "
        f"{TRIAL_STEPS} steps bring the loss from {verdict.still.end:.4g} to {verdict.yours.end:.4g}, with {suggested} "
        f"to {verdict.suggested.end:.4g}; the first moves weights {verdict.yours.first_update:.2g} times their norm",
        treatment=f"Use {suggested}; the loss falls at rates from {_short(swept.lowest)} to {_short(swept.highest)}.",
        location=place.location,
        source_line=place.source_line,
        measurements={
            **measurements,
            "cause": f"rate too {verdict.word}",
            "loss after the trial": verdict.yours.end,
            "loss after the trial at the suggested rate": verdict.suggested.end,
            "first update by weights": verdict.yours.first_update,
        },
    )


def _factor(rate: float, suggestion: float) -> str:
    if not rate:
        return "infinitely many"
    return f"{max(rate / suggestion, suggestion / rate):.0f}"


def _short(rate: float) -> str:
    """One significant digit: `3e-4`."""
    mantissa, exponent = f"{rate:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
