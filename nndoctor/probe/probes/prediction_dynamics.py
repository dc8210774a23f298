"""NDP17: while a model trains, its predictions for a fixed batch settle: no jitter, no collapse to one class."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice

import torch
from torch import Tensor

from nndoctor.findings import Figure, Finding, Series
from nndoctor.probe.batch import Batch, children, clone, rebuild, take, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.dynamics import STEPS, WATCHING_STEPS, Dynamics, follow, known_training, train_as_is
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.references import CLASS_TASKS, first_tensor
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

JITTER = Threshold(
    "NDP17",
    "jitter",
    0.2,
    "In a late step 0 to 0.13 of the predictions of healthy models flip; with a rate 100 times too high 0.3 to 0.8.",
)
COLLAPSED = Threshold(
    "NDP17",
    "collapsed",
    0.99,
    "Share of the commonest prediction. A healthy model may begin so; it may end so if it learns slowly, and must "
    "where 0.9 of the labels are of one class.",
)
ONE_CLASS = 0.9  # share of the labels
SHRUNK = Threshold(
    "NDP17",
    "shrunk",
    0.02,
    "Share of their spread that outputs which are no classes keep; that of healthy models grows.",
)
# Either only counts if a change heals it: less jitter, and a loss that is lower after as many steps.
CALMER_RATES = (1 / 30, 1 / 1000)
CALMER = 0.5
LOWER = 0.9
# Batches are sorted if each has hardly more than one label, and all together have.
SORTED = 0.9
MIXED = 0.6
FEWEST_EXAMPLES = 4


@probe("NDP17")
def prediction_dynamics(subject: Subject, effort: Effort) -> Outcome:
    """A short fit with the user's optimizer; where it goes wrong, others with a lower rate or mixed batches."""
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        raise NotApplicableError("every parameter is frozen, so no prediction will change")
    deadline = time.monotonic() + 0.8 * effort.seconds
    mixed = _mixed_batches(subject)
    known = known_training(subject) if mixed is None else None
    yours = known or _yours(subject, mixed, deadline)
    symptom = _symptom(subject, yours)
    found, fits = [], 0 if known else 1
    if symptom and len(yours.losses) > 1:
        for made in _treatments(subject, yours, symptom, mixed, deadline):
            fits += 1
            if made is not None and time.monotonic() < deadline:
                found = [made]
                break
    steps = fits * (STEPS + WATCHING_STEPS)
    return Outcome(_summary(yours), tuple(found), _figures(yours), _series(yours), steps=steps)


def _yours(subject: Subject, mixed: list[Batch] | None, deadline: float) -> Dynamics:
    if mixed:
        return follow(subject, subject.batches.cycle(STEPS), mixed[0], 1.0, deadline)
    with subject.sandbox():
        return train_as_is(subject, deadline)


def _symptom(subject: Subject, seen: Dynamics) -> str | None:
    """What is wrong with the predictions, in words that follow `the predictions`."""
    if not math.isfinite(seen.losses[-1]):
        return f"are not finite any more in step {len(seen.losses)}"
    if seen.late_flips >= JITTER.value:
        return f"for a fixed batch jitter: {seen.late_flips:.0%} of them change with each step"
    if (
        seen.late_dominance >= COLLAPSED.value
        and _commonest_label(_labels(subject, subject.batches.first())) < ONE_CLASS
    ):
        return "collapse: every one is the same class"
    if not seen.flips and seen.kept_spread < SHRUNK.value:
        return f"collapse: the outputs of different examples are {1 / max(seen.kept_spread, 1e-9):.0f} times as close"
    return None


def _heals(yours: Dynamics, other: Dynamics) -> bool:
    settled = other.late_flips <= CALMER * yours.late_flips or yours.late_flips < JITTER.value
    varied = other.late_dominance < COLLAPSED.value and (bool(other.flips) or other.kept_spread >= SHRUNK.value)
    return settled and varied and other.end < min(LOWER * yours.end, yours.end)


def _treatments(
    subject: Subject, yours: Dynamics, symptom: str, mixed: list[Batch] | None, deadline: float
) -> Iterator[Finding | None]:
    """Try one after the other what may be to blame; None for what does not help."""
    watched = mixed[0] if mixed else subject.batches.first(1)[0]
    if mixed:
        other = follow(subject, map(clone, islice(cycle(mixed), STEPS)), watched, 1.0, deadline)
        yield _sorted(subject, yours, other, symptom) if _heals(yours, other) else None
    for factor in CALMER_RATES if subject.optimizer else ():
        other = follow(subject, subject.batches.cycle(STEPS), watched, factor, deadline)
        yield _too_fast(subject, yours, other, symptom) if _heals(yours, other) else None


# ------------------------------------------------------------------------------------------------- sorted data


def _mixed_batches(subject: Subject) -> list[Batch] | None:
    """The same examples in other company, None where the batches are mixed already or cannot be."""
    batches = subject.batches.first()
    sizes = [next(iter(likely_sizes(batch, subject.batches.size)), 1) for batch in batches]
    if len(batches) < 2 or sizes[0] < FEWEST_EXAMPLES or not _are_sorted(subject, batches):
        return None
    whole = [batch for batch, size in zip(batches, sizes, strict=True) if size == sizes[0]]
    try:
        every = _joined(whole)
    except (RuntimeError, TypeError, ValueError):  # sequences of other lengths, for instance
        return None
    count = sizes[0] * len(whole)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(subject.seed)).tolist()
    return [take(every, order[start : start + sizes[0]], count) for start in range(0, count, sizes[0])]


def _joined(batches: list[Batch]) -> Batch:
    """One batch of all examples; tensors are joined along their first dimension."""
    if isinstance(batches[0], Tensor):
        return torch.cat(batches)
    parts = children(batches[0])
    if parts is None:
        return batches[0]
    others = [children(batch) or [] for batch in batches]
    return rebuild(batches[0], [_joined([other[index][1] for other in others]) for index in range(len(parts))])


def _are_sorted(subject: Subject, batches: list[Batch]) -> bool:
    apart = [_commonest_label(_labels(subject, [batch])) for batch in batches]
    return min(apart) >= SORTED and _commonest_label(_labels(subject, batches)) <= MIXED


def _labels(subject: Subject, batches: list[Batch]) -> Tensor | None:
    if subject.task.kind not in CLASS_TASKS:
        return None
    found = [first_tensor(subject.split(batch).targets) for batch in batches]
    return torch.cat([labels.flatten() for labels in found if labels is not None]) if tensors(found) else None


def _commonest_label(labels: Tensor | None) -> float:
    """Its share; 0 where there are none."""
    if labels is None or not labels.numel():
        return 0.0
    return max(Counter(labels.tolist()).values()) / labels.numel()


# ------------------------------------------------------------------------------------------------- report


def _sorted(subject: Subject, yours: Dynamics, other: Dynamics, symptom: str) -> Finding:
    return finding(
        "NDP17",
        f"the predictions {symptom}; each batch holds one label only, and with the same examples mixed {STEPS} steps "
        f"bring the loss to {other.end:.4g}; as it is, it {_course(yours)}",
        treatment="Shuffle the training data: DataLoader(..., shuffle=True).",
        location=subject.data_location or subject.location,
        source_line=subject.data_source_line if subject.data_location else subject.source_line,
        measurements=_figures(yours) | {"cause": "sorted labels", "loss when treated": other.end},
    )


def _too_fast(subject: Subject, yours: Dynamics, other: Dynamics, symptom: str) -> Finding:
    recipe = subject.optimizer
    place = recipe if recipe and recipe.location else subject
    return finding(
        "NDP17",
        f"the predictions {symptom}; the learning rate {yours.rate:.2g} is to blame: {STEPS} steps with "
        f"{other.rate:.1g} bring the loss from {other.losses[0]:.4g} to {other.end:.4g}, with yours it "
        f"{_course(yours)}",
        treatment=f"Lower the learning rate to {other.rate:.0e}.",
        location=place.location,
        source_line=place.source_line,
        measurements=_figures(yours) | {"cause": "rate too high", "loss when treated": other.end},
    )


def _course(seen: Dynamics) -> str:
    return f"ends at {seen.end:.4g}" if math.isfinite(seen.end) else "blows up"


def _figures(seen: Dynamics) -> dict[str, Figure]:
    return {
        "rate": seen.rate,
        "loss at the start": seen.losses[0],
        "loss at the end": seen.end,
        "late flips": seen.late_flips if seen.flips else None,
        "commonest prediction": seen.late_dominance if seen.flips else None,
        "spread by spread at the start": seen.kept_spread,
    }


def _summary(seen: Dynamics) -> str:
    if not math.isfinite(seen.losses[-1]):
        return f"training blows up in step {len(seen.losses)}"
    if seen.flips:
        return (
            f"in late steps {seen.late_flips:.0%} of the predictions for a fixed batch flip, the commonest class is "
            f"{seen.late_dominance:.0%} of them"
        )
    return f"the outputs for a fixed batch lie {seen.kept_spread:.2g} times as far apart after {len(seen.losses)} steps"


def _series(seen: Dynamics) -> dict[str, Series]:
    if not seen.flips:
        return {"spread": Series(seen.spread, "deviation of the outputs for a fixed batch", seen.seen, "step")}
    return {
        "flips": Series(seen.flips, "share of predictions that flip", seen.seen[2:], "step", y_label="share"),
        "dominance": Series(seen.dominance, "share of the commonest prediction", seen.seen, "step", y_label="share"),
    }
