"""NDP18: a larger model must fit one batch better, where the smaller one does not fit it already."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from nndoctor.findings import Confidence, Evidence, Finding, Series
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import adam, calm, descend, freeze_chance, repeated
from nndoctor.probe.growth import Growth
from nndoctor.probe.registry import Outcome, model_finding, probe
from nndoctor.probe.session import seed_everything
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

# Adam's; the others are tried where the larger model is not better at the first.
RATES = (3e-3, 1e-3, 1e-2)
TIME_SHARE = 0.8
FITTED = Threshold(
    "NDP18",
    "fitted",
    0.5,
    "A small model whose loss falls below this share of the first fits well enough to leave little to gain.",
)
GAIN = Threshold(
    "NDP18",
    "gain",
    0.02,
    "The lowest loss of the largest model is lower by this share: by 0.6 to 0.95 in healthy models that are made eight "
    "times as wide, by -0.01 to 0.01 where what grows is behind a bottleneck or a stack of linear layers.",
)


@dataclass(frozen=True, slots=True)
class Size:
    """The model with one value of the argument, and the loss before each step of a fit."""

    value: str
    parameters: int
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The lowest loss of the fit."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)


@probe("NDP18")
def capacity(subject: Subject, effort: Effort) -> Outcome:
    """Fit the same batch with every size of the model from the same seed, each at its best rate."""
    growth = subject.growth
    if growth is None:
        raise NotApplicableError("no argument to grow: give --grow NAME=SMALL,LARGE")
    fit = partial(_fit, subject, growth, effort.steps, time.monotonic() + TIME_SHARE * effort.seconds)
    tried = _try_out(fit, growth)
    best = (min((size for size in tried if size.value == value), key=_lowest) for value in growth.values)
    sizes = sorted(best, key=lambda size: size.parameters)
    found = _verdict(subject, growth, sizes)
    small, large = sizes[0], sizes[-1]
    return Outcome(
        summary=f"with {growth.name}={small.value} ({small.parameters:,} parameters) the loss of one batch falls to "
        f"{small.lowest:.3g}, with {growth.name}={large.value} ({large.parameters:,}) to {large.lowest:.3g}",
        findings=(found,) if found else (),
        measurements={f"lowest loss with {growth.name}={size.value}": size.lowest for size in sizes}
        | {f"parameters with {growth.name}={size.value}": size.parameters for size in sizes},
        series={
            f"loss with {growth.name}={size.value}": Series(
                size.losses, f"loss with {growth.name}={size.value}", y_label="loss"
            )
            for size in sizes
        },
        steps=sum(len(size.losses) for size in tried),
    )


def _try_out(fit: Callable[[str, float], Size], growth: Growth) -> list[Size]:
    """Every size at the first rate; and at the others, if the largest shows no gain there."""
    first = [fit(value, RATES[0]) for value in growth.values]
    small, large = (find(first, key=lambda size: size.parameters) for find in (min, max))
    if large.lowest < small.lowest or large.parameters == small.parameters:
        return first
    return [*first, *(fit(value, rate) for value in growth.values for rate in RATES[1:])]


def _lowest(size: Size) -> float:
    return size.lowest


def _fit(subject: Subject, growth: Growth, steps: int, deadline: float, value: str, rate: float) -> Size:
    """Make the model with that value and train it on the first batch."""
    assert subject.remake is not None, "a model that cannot be made anew was refused before"
    seed_everything(subject.seed)
    model = subject.remake(**{growth.name: value})
    calm(model)
    losses = descend(
        replace(subject, model=model),
        repeated(subject.batches.first(1)[0], steps),
        adam(model, rate),
        before_step=freeze_chance(subject.device),
        deadline=deadline,
    )
    return Size(value, sum(parameter.numel() for parameter in model.parameters()), tuple(losses))


def _verdict(subject: Subject, growth: Growth, sizes: list[Size]) -> Finding | None:
    small, large = sizes[0], sizes[-1]
    if small.parameters == large.parameters:
        return model_finding(
            "NDP18",
            subject,
            f"the argument `{growth.name}` is ignored: with {' and with '.join(growth.values)} the model has "
            f"{small.parameters:,} parameters",
            treatment=f"Use `{growth.name}` where the layers are made; some of them have a number in its place.",
            confidence=Confidence.CERTAIN,
            measurements={"cause": "argument ignored", "parameters": small.parameters},
        )
    complete = len(small.losses) == len(large.losses) and math.isfinite(large.lowest)
    fits = small.lowest < FITTED.value * abs(small.losses[0])
    if fits or not complete or large.lowest < small.lowest - GAIN.value * abs(small.lowest):
        return None
    found = model_finding(
        "NDP18",
        subject,
        f"a larger model fits no better: with {growth.name}={small.value} the loss of one batch falls from "
        f"{small.losses[0]:.3g} to {small.lowest:.3g}, with {growth.name}={large.value} to {large.lowest:.3g}",
        measurements={"cause": "capacity without effect", "small": small.lowest, "large": large.lowest},
    )
    return replace(found, evidence=tuple(map(_evidence, sizes)))


def _evidence(size: Size) -> Evidence:
    return Evidence(f"{size.value}: {size.parameters:,} parameters, lowest loss {size.lowest:.4g}")
