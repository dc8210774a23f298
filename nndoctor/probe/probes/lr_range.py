"""NDP06: which learning rates train, and is the user's among them."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

from nndoctor.findings import Figure, Finding, Series
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.optimizers import learning_rate
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import Sweep, constant_rate, sweep

# Good rates span a decade and a half around the suggestion; a rate this many times away is worth a trial.
FAR = 30.0
TRIAL_STEPS = 30
# A rate that brings less than this share of what the suggested one brings needs 30,000 steps for what takes 30. Fine
# tuning at 2e-5 and Adam at 1e-5 stay above.
TOO_SLOW = 1e-3
# A fall smaller than this share of the initial loss is noise between batches, and no rate is better than another.
NO_FALL = 0.02
TIME_SHARE = 0.6  # of the probe's deadline; a slow model gets fewer steps


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the user's rate, with the losses of the trial."""

    word: str  # "high" or "low"
    start: float
    end: float
    end_suggested: float


@probe("NDP06")
def lr_range(subject: Subject, effort: Effort) -> Outcome:
    """Exponential sweep with the user's optimizer, or Adam; a far rate is tried out before it is judged."""
    deadline = time.monotonic() + TIME_SHARE * effort.seconds
    with subject.sandbox():
        swept = sweep(subject, effort.sweep, deadline)
    if len(swept.rates) < 2 or not swept.fall > NO_FALL * abs(swept.start):
        return _flat(swept)
    rate, name = _user_rate(subject)
    far = rate is not None and not swept.suggestion / FAR <= rate <= swept.suggestion * FAR
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
    text = f"the loss falls at no rate from {_short(swept.rates[0])} to {_short(swept.rates[-1])}"
    return Outcome(summary=text, series={"loss by rate": _series(swept, None)}, steps=swept.steps)


def _try_out(subject: Subject, swept: Sweep, rate: float, deadline: float) -> Verdict | None:
    """Confirm that a far rate trains badly: schedules and warm-up make many a far rate right.

    Compared with a run at rate 0 on the same batches and random numbers, so that a small fall is not lost in noise.
    """
    ends = []
    for each in (0.0, rate, swept.suggestion):
        with subject.sandbox():
            ends.append(_end(constant_rate(subject, each, TRIAL_STEPS, deadline)))
    start, end, end_suggested = ends
    if rate > swept.suggestion and not end < start:
        return Verdict("high", *ends)
    if rate < swept.suggestion and not swept.is_open and start - end < TOO_SLOW * (start - end_suggested):
        return Verdict("low", *ends)
    return None


def _end(losses: list[float]) -> float:
    """The mean loss of the last third, infinite if training blew up."""
    last = losses[-max(len(losses) // 3, 1) :]
    return statistics.fmean(last) if all(map(math.isfinite, last)) else math.inf


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


def _series(swept: Sweep, rate: float | None) -> Series:
    return Series(
        values=swept.smoothed,
        label="smoothed loss" if rate is None else f"smoothed loss (your rate is {_short(rate)})",
        x=swept.rates,
        x_label="learning rate",
        log_x=True,
        references={"start": swept.start} if swept.smoothed else {},
    )


def _finding(subject: Subject, swept: Sweep, rate: float, verdict: Verdict, measurements: dict[str, Figure]) -> Finding:
    factor = max(rate / swept.suggestion, swept.suggestion / max(rate, 1e-30))
    suggested = _short(swept.suggestion)
    recipe = subject.optimizer
    place = recipe if recipe and recipe.location else subject
    return finding(
        "NDP06",
        f"the learning rate {_short(rate)} is {factor:.0f} times too {verdict.word}: {TRIAL_STEPS} steps bring the "
        f"loss from {verdict.start:.4g} to {verdict.end:.4g}, with {suggested} to {verdict.end_suggested:.4g}",
        treatment=f"Use {suggested}; the loss falls at rates from {_short(swept.lowest)} to {_short(swept.highest)}.",
        location=place.location,
        source_line=place.source_line,
        measurements={
            **measurements,
            "loss after the trial": verdict.end,
            "loss after the trial at the suggested rate": verdict.end_suggested,
        },
    )


def _short(rate: float) -> str:
    """One significant digit: `3e-4`."""
    mantissa, exponent = f"{rate:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
