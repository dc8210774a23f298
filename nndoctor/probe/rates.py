"""Rates: the course that a scheduler takes without any training, and what may be wrong with it for a run."""

from __future__ import annotations

import copy
import re
import time
from dataclasses import dataclass
from itertools import pairwise

from nndoctor.probe.blame import describe_error
from nndoctor.probe.schedules import Scheduled
from nndoctor.thresholds import Threshold

SHORTEST_RUN = 5  # steps of a scheduler; fewer are there to try a script out
WORN_OUT = Threshold("NDP14", "worn-out", 1e-3, "Below a thousandth of the peak nothing is learned any more.")
WORN_OUT_SHARE = Threshold(
    "NDP14",
    "worn-out-share",
    0.4,
    "Healthy schedules spend 0 to 0.25 of the run with a worn-out rate: cosine to zero 0.02, three steps of 0.1 "
    "0.1, polynomials 0.03 to 0.18, an exponential that ends at 1e-4 0.25.",
)
CAME_DOWN = 0.05
CLIMBED_BACK = Threshold(
    "NDP14",
    "climbed-back",
    0.1,
    "A schedule that was down at a twentieth of its peak and ends above a tenth has climbed.",
)
# A restart is a jump: of half the height or more in one step. A cosine past its end climbs in many.
RESTART = 0.5
BY_DESIGN = re.compile(r"cycl|restart", re.IGNORECASE)
HARDLY_BEGUN = Threshold(
    "NDP14",
    "hardly-begun",
    0.5,
    "A run that ends above half of the peak, on half of the schedule's length or less, has hardly begun to anneal.",
)
AT_LEAST_TWICE = 2
# A schedule has come to its end where it is at a hundredth of the peak and goes no lower for as long again.
ENDED = 0.01
ROUNDING = 1e-12
# An exponential has no end, it only becomes too small to tell; half-way there it is at the root of that. Schedules that
# have one are at 0.06 of the peak or more after half of their length.
FADED = 1e-4


@dataclass(frozen=True, slots=True)
class Course:
    """The rate before each step of the scheduler, beyond the run as far as was looked."""

    rates: tuple[float, ...]
    error: str | None = None  # what the scheduler raised after the last of them

    @property
    def end(self) -> int | None:
        """After how many steps the schedule has come to an end of its own, None if it goes on falling."""
        if self.error is not None:
            return len(self.rates) - 1
        top, lowest = max(self.rates), min(self.rates)
        end = next(step for step, rate in enumerate(self.rates) if rate <= lowest + ROUNDING * top)
        has_faded = self.rates[end // 2] < FADED * top
        return end if end <= len(self.rates) / 2 and lowest <= ENDED * top and not has_faded else None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a course for a run of so many steps; `{unit}` stands for epochs or batches."""

    cause: str
    message: str
    needs: int | None = None  # how many steps the schedule is written for


def foresee(scheduled: Scheduled, steps: int, deadline: float) -> Course:
    """Step a copy so often, or until it raises or time is up."""
    copied = copy.deepcopy(scheduled)
    rates = [copied.rate]
    for _ in range(steps):
        try:
            copied.scheduler.step()
        except Exception as error:  # OneCycleLR raises ValueError beyond its end; a lambda may raise anything
            return Course(tuple(rates), describe_error(error))
        rates.append(copied.rate)
        if time.monotonic() > deadline:
            break
    return Course(tuple(rates))


def find_fault(course: Course, steps: int, name: str, epochs: int) -> Fault | None:
    """What is wrong with the first `steps` rates in a run of so many epochs; `name` is the scheduler's class."""
    if steps < SHORTEST_RUN:
        return None
    if course.error is not None and len(course.rates) <= steps:
        return Fault("stops", f"it raises after {course.end} of {steps} {{unit}}: {course.error}", course.end)
    if len(course.rates) < steps:
        return None  # too long to be foreseen
    found = (check(course, steps) for check in (_unchanged, _still_rising, _worn_out, _hardly_begun))
    climbs = None if BY_DESIGN.search(name) else _climbed_back(course, steps, epochs)
    return next(filter(None, found), climbs)


def _unchanged(course: Course, steps: int) -> Fault | None:
    """A schedule that would change later; one that never does is meant to be constant."""
    first = course.rates[0]
    change = next((step for step, rate in enumerate(course.rates) if rate != first), None)
    if change is None or change < steps:
        return None
    message = f"the rate never changes: the schedule first changes it after {change} {{unit}}, and the run has {steps}"
    return Fault("never changes", message, change)


def _still_rising(course: Course, steps: int) -> Fault | None:
    rates = course.rates[:steps]
    peak = max(range(len(course.rates)), key=course.rates.__getitem__)
    rises = all(one <= other for one, other in pairwise(rates)) and rates[-1] > rates[-2]
    if not rises or peak < steps or peak == len(course.rates) - 1:
        return None
    share = rates[-1] / course.rates[peak]
    message = f"the warm-up takes {peak} {{unit}} and the run has {steps}: it ends at {share:.0%} of the highest rate"
    return Fault("warm-up", message, peak)


def _worn_out(course: Course, steps: int) -> Fault | None:
    rates = course.rates[:steps]
    top = max(rates)
    spent = [
        step for step, rate in enumerate(rates) if step > rates.index(top) and rate < WORN_OUT.value * top * (1 - 1e-6)
    ]
    if len(spent) < WORN_OUT_SHARE.value * steps:
        return None
    message = f"the rate falls to less than a thousandth of {top:.3g} after {spent[0]} of {steps} {{unit}}"
    return Fault("falls too early", message, course.end)


def _hardly_begun(course: Course, steps: int) -> Fault | None:
    end, top = course.end, max(course.rates)
    last = course.rates[steps - 1]
    if end is None or end < AT_LEAST_TWICE * steps or last < HARDLY_BEGUN.value * top:
        return None
    share = f"{last / top:.0%} of the highest rate"
    message = f"the schedule takes {end} {{unit}} and the run has {steps}: it ends at {share}"
    return Fault("too long", message, end)


def _climbed_back(course: Course, steps: int, epochs: int) -> Fault | None:
    """A schedule that is past its end, and ends high or was as long as the epochs; not one that jumps back."""
    rates = course.rates[:steps]
    top = max(rates)
    low = _first_low(rates, CAME_DOWN * top)
    if low is None or max(rates[low:]) <= CLIMBED_BACK.value * top:
        return None
    highest = max(range(low, steps), key=rates.__getitem__)
    jump = max(other - one for one, other in pairwise(rates[low : highest + 1]))
    counts_epochs = steps > epochs and abs(low - epochs) <= 1
    if jump >= RESTART * (rates[highest] - rates[low]) or (rates[-1] <= CLIMBED_BACK.value * top and not counts_epochs):
        return None
    lowest, last = rates[low], rates[highest]
    message = f"the rate falls to {lowest:.2g} after {low} of {steps} {{unit}} and climbs back to {last:.2g}"
    return Fault("rises again", message, low)


def _first_low(rates: tuple[float, ...], level: float) -> int | None:
    """The bottom of the first valley behind the peak that goes below the level."""
    top = max(rates)
    peak = next(step for step, rate in enumerate(rates) if rate >= top * (1 - ROUNDING))
    fallen = next((step for step in range(peak, len(rates)) if rates[step] < level), None)
    if fallen is None:
        return None
    return next((step for step in range(fallen, len(rates) - 1) if rates[step + 1] > rates[step]), len(rates) - 1)
