"""NDP15: penalties and weight decay must leave the data their say, and terms of a loss must go together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from nndoctor.findings import Confidence, Evidence, Figure, Finding, Severity
from nndoctor.probe.batch import Batch, take
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import adam, calm, descend
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.shrinking import Decay, Pull, Trial, decay_of, measure_pull, norm, shrunk_by_loss, try_training
from nndoctor.probe.subject import Subject
from nndoctor.probe.terms import Breakdown, Term, break_down
from nndoctor.thresholds import Threshold

SUSPICIOUS_PULL = Threshold(
    "NDP15",
    "suspicious-pull",
    0.3,
    "Weight decay of healthy models pulls 0.0002 to 0.0034 times as hard as the data; only beyond this is "
    "training tried.",
)
DROWNED = Threshold(
    "NDP15",
    "drowned",
    0.1,
    "Common decay (SGD up to 5e-4, AdamW up to 0.1) leaves 0.93 to 1.06 of the fall of the loss.",
)
TRIAL_STEPS = 40
LEARNABLE = 0.1  # of its start must the loss fall without the penalty, or the trial says nothing
WANTED_PULL = 0.01
LOPSIDED = Threshold(
    "NDP15",
    "lopsided",
    100.0,
    "Terms that nobody weighted: reconstruction and divergence of a healthy VAE are 20 times apart.",
)
SETTLING_STEPS = 20  # a divergence begins at 0 and grows
SETTLING_RATE = 1e-3
# The loss of twice the same examples by the loss of these once: 2 for a sum; 0.98 to 1 for the mean of healthy models,
# 1.3 to 1.6 where the examples are compared with one another.
SCALING_TOLERANCE = 0.05
UNCHANGED = 1e-4
FEWEST_EXAMPLES = 4  # half of them must do for batch norm
# Their step does not grow with the loss, so that a sum only shows in clipping and in a coupled weight decay.
SCALE_FREE = ("Adam", "RMSprop", "Adagrad", "Adadelta", "Rprop", "Lion", "Adafactor", "LAMB", "Lamb", "Muon")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All figures of one subject at its start."""

    subject: Subject
    parts: Breakdown
    matrices: list[nn.Parameter]
    decay: Decay
    pull: Pull
    scaling: tuple[float, ...] | None  # of each term; None where the batch cannot be doubled
    examples: int

    @property
    def total_scaling(self) -> float | None:
        """Of the whole loss."""
        total = sum(term.value for term in self.parts.data)
        if self.scaling is None or not total:
            return None
        scaled = [ratio * term.value for ratio, term in zip(self.scaling, self.parts.terms, strict=True)]
        return sum(value for value, term in zip(scaled, self.parts.terms, strict=True) if not term.is_penalty) / total


@probe("NDP15")
def regularisation(subject: Subject, effort: Effort) -> Outcome:
    """Take the loss apart, compare the gradients of its terms and the weight decay, and double the batch."""
    deadline = time.monotonic() + 0.8 * effort.seconds
    measured = _measure(subject)
    found = [*_scaling(measured), *_twice(measured)]
    steps = 4 + len(measured.parts.terms)
    if measured.pull.penalty_ratio + measured.pull.decay_ratio > SUSPICIOUS_PULL.value:
        found += _drowned(measured, deadline)
        steps += 2 * TRIAL_STEPS
    if not found and (pair := _lopsided(measured.parts, measured.matrices)):
        found += _still_lopsided(measured, pair, deadline)
        steps += SETTLING_STEPS
    return Outcome(_summary(measured), tuple(found), _figures(measured), steps=steps)


def _measure(subject: Subject) -> Measured:
    batch = subject.batches.first(1)[0]
    size = next(iter(likely_sizes(batch, subject.batches.size)), 1)
    scaling = _measure_scaling(subject, batch, size)
    with subject.sandbox():
        subject.model.train()
        parts = break_down(subject, batch, places=True)
        if not parts.terms:
            raise NotApplicableError("the loss has no gradient, so nothing can be compared with it")
        if scaling and len(scaling) != len(parts.terms):
            scaling = None
        parts = _without_false_penalties(parts, scaling)
        matrices = [each for each in subject.model.parameters() if each.requires_grad and each.ndim > 1]
        decay = decay_of(subject.make_optimizer(subject.model))
        return Measured(subject, parts, matrices, decay, measure_pull(parts, matrices, decay), scaling, size)


def _measure_scaling(subject: Subject, batch: Batch, size: int) -> tuple[float, ...] | None:
    """For each term its value for twice half the batch by the one for half the batch."""
    if size < FEWEST_EXAMPLES:
        return None
    half = list(range(size // 2))
    values = []
    for rows in (half, half + half):
        with subject.sandbox():
            calm(subject.model)
            try:
                values.append([term.value for term in break_down(subject, take(batch, rows, size)).terms])
            except Exception:  # a model that only takes whole batches
                return None
    if len(values[0]) != len(values[1]) or not all(values[0]):
        return None
    return tuple(twice / once for once, twice in zip(*values, strict=True))


def _without_false_penalties(parts: Breakdown, scaling: Sequence[float] | None) -> Breakdown:
    """What changes with the batch is none, as the loss of a model that is written without modules."""
    if scaling is None or all(
        abs(ratio - 1) < UNCHANGED for ratio, term in zip(scaling, parts.terms, strict=True) if term.is_penalty
    ):
        return parts if parts.data else replace(parts, terms=tuple(replace(t, is_penalty=False) for t in parts.terms))
    return replace(parts, terms=tuple(replace(term, is_penalty=False) for term in parts.terms))


# ------------------------------------------------------------------------------------------------- sum or mean


def _scaling(measured: Measured) -> Iterator[Finding]:
    if measured.scaling is None:
        return
    pairs = [pair for pair in zip(measured.parts.terms, measured.scaling, strict=True) if not pair[0].is_penalty]
    sums = [term for term, ratio in pairs if abs(ratio - 2) < SCALING_TOLERANCE]
    means = [term for term, ratio in pairs if abs(ratio - 1) < SCALING_TOLERANCE]
    if sums and means:
        yield _mixed(measured, sums[0], means[0])
    elif sums and len(sums) == len(pairs):
        yield _summed(measured, sums)


def _mixed(measured: Measured, summed: Term, mean: Term) -> Finding:
    size = measured.examples
    return _finding(
        measured,
        "sum and mean",
        f"one term of the loss ({summed.value:.4g}) is a sum over the {size} examples, another ({mean.value:.4g}) a "
        "mean: their proportion changes with the batch size",
        f"Divide the sum by the number of examples, here {size}: it is then {summed.value / size:.4g}.",
        summed,
        evidence=(Evidence("the mean", mean.location, mean.source_line),),
    )


def _summed(measured: Measured, sums: list[Term]) -> Finding:
    size, name = measured.examples, measured.decay.name
    free = name == "none" or name.startswith(SCALE_FREE)
    return _finding(
        measured,
        "sum instead of mean",
        f"the loss is a sum over the examples: twice the batch gives {measured.total_scaling:.3g} times the loss",
        f"Take the mean over the examples, or divide by the batch size, here {size}"
        + (f", and multiply the learning rate by {size} to take the steps that you take now." if not free else "."),
        sums[0],
        severity=Severity.INFO if free else Severity.WARNING,
        confidence=Confidence.POSSIBLE if free else Confidence.LIKELY,
    )


# ------------------------------------------------------------------------------------------------- decay


def _twice(measured: Measured) -> Iterator[Finding]:
    """Weights that the optimizer decays and that a penalty in the loss pulls along themselves."""
    if not measured.parts.penalties or not measured.decay.strengths:
        return
    shrunk = shrunk_by_loss(measured.parts, measured.matrices)
    both = [identity for identity in shrunk if identity in measured.decay.strengths]
    if both:
        name, strength = measured.decay.name, measured.decay.strengths[both[0]]
        yield _finding(
            measured,
            "decayed twice",
            f"weights are decayed twice: by a penalty in the loss that amounts to weight_decay={shrunk[both[0]]:.2g}, "
            f"and by weight_decay={strength:.2g} of {name}",
            f"Keep one of them: delete the penalty, or give {name} weight_decay=0.",
            measured.parts.penalties[0],
            evidence=_optimizer_evidence(measured),
            confidence=Confidence.CERTAIN,
        )


def _drowned(measured: Measured, deadline: float) -> Iterator[Finding]:
    """Train with and without what shrinks the weights, and compare how far the loss of the data falls."""
    subject, decay = measured.subject, measured.decay
    with_it = try_training(subject, decay, TRIAL_STEPS, deadline, penalties=True, decays=True)
    without = try_training(subject, decay, TRIAL_STEPS, deadline, penalties=False, decays=False)
    learns = without.fall > LEARNABLE * abs(without.start)
    if time.monotonic() < deadline and learns and with_it.fall < DROWNED.value * without.fall:
        yield _drowning(measured, with_it, without)


def _drowning(measured: Measured, with_it: Trial, without: Trial) -> Finding:
    pull, decay = measured.pull, measured.decay
    by_penalty = pull.penalty_ratio >= pull.decay_ratio
    ratio = max(pull.penalty_ratio, pull.decay_ratio)
    what = "the penalty in the loss" if by_penalty else f"weight_decay={decay.strongest:.2g} of {decay.name}"
    wanted = WANTED_PULL / ratio
    return _finding(
        measured,
        "decay drowns the data",
        f"{what} drowns the data: it pulls {ratio:.2g} times as hard at the weights; with it {TRIAL_STEPS} steps bring "
        f"the loss of the data from {with_it.start:.4g} to {with_it.end:.4g}, without it to {without.end:.4g}",
        f"Multiply the penalty by {wanted:.0e}; it then pulls a hundredth as hard as the data."
        if by_penalty
        else f"Set weight_decay to {decay.strongest * wanted:.0e}; it then pulls a hundredth as hard as the data.",
        measured.parts.penalties[0] if by_penalty else None,
        severity=Severity.ERROR,
    )


# ------------------------------------------------------------------------------------------------- proportion


def _lopsided(parts: Breakdown, matrices: list[nn.Parameter]) -> tuple[Term, Term, float] | None:
    """The terms of the data that pull hardest and least at the matrices that both reach, if they are far apart."""
    if len(parts.data) < 2 or any(term.is_weighted for term in parts.data):
        return None
    pulls = [(term, parts.gradients([term], matrices)) for term in parts.data]
    shared = [index for index in range(len(matrices)) if all(bool(pull[index].any()) for _, pull in pulls)]
    sizes = sorted(((norm([pull[index] for index in shared]), number) for number, (_, pull) in enumerate(pulls)))
    (least, weak), (most, strong) = sizes[0], sizes[-1]
    if not least or most < LOPSIDED.value * least:
        return None
    return pulls[strong][0], pulls[weak][0], most / least


def _still_lopsided(measured: Measured, pair: tuple[Term, Term, float], deadline: float) -> Iterator[Finding]:
    """Not only at the start, where a term may be near its minimum."""
    subject = measured.subject
    with subject.sandbox():
        subject.model.train()
        descend(subject, subject.batches.cycle(SETTLING_STEPS), adam(subject.model, SETTLING_RATE), deadline=deadline)
        later = _lopsided(break_down(subject, subject.batches.first(1)[0]), measured.matrices)
    if later is None or time.monotonic() > deadline:
        return
    strong, weak, ratio = pair
    yield _finding(
        measured,
        "terms out of proportion",
        f"one term of the loss ({strong.value:.4g}) pulls {ratio:.0f} times as hard at the shared weights as another "
        f"({weak.value:.4g}), and {later[2]:.0f} times after {SETTLING_STEPS} steps",
        f"Multiply the first by about {1 / ratio:.0e}, or bring its targets to unit variance.",
        strong,
        evidence=(Evidence("the other term", weak.location, weak.source_line),),
    )


# ------------------------------------------------------------------------------------------------- report


def _optimizer_evidence(measured: Measured) -> tuple[Evidence, ...]:
    recipe = measured.subject.optimizer
    return (Evidence("the optimizer", recipe.location, recipe.source_line),) if recipe and recipe.location else ()


def _finding(
    measured: Measured,
    cause: str,
    message: str,
    treatment: str,
    term: Term | None,
    *,
    evidence: tuple[Evidence, ...] = (),
    severity: Severity | None = None,
    confidence: Confidence = Confidence.LIKELY,
) -> Finding:
    """At the line of the term, else of the optimizer; where the loss is torch's own, at the loss or the model."""
    subject = measured.subject
    given = subject.optimizer if term is None else term
    places = [place for place in (given, subject.objective, subject) if place and place.location]
    return finding(
        "NDP15",
        message,
        treatment=treatment,
        severity=severity,
        confidence=confidence,
        location=places[0].location if places else None,
        source_line=places[0].source_line if places else None,
        evidence=evidence,
        measurements={**_figures(measured), "cause": cause},
    )


def _figures(measured: Measured) -> dict[str, Figure]:
    return {
        "terms of the loss": len(measured.parts.data),
        "penalties": len(measured.parts.penalties),
        "gradient of the data": measured.pull.data,
        "penalty by data": measured.pull.penalty_ratio,
        "weight decay by data": measured.pull.decay_ratio,
        "weight_decay": measured.decay.strongest,
        "loss of twice the batch by loss": measured.total_scaling,
    }


def _summary(measured: Measured) -> str:
    pull = measured.pull
    text = f"penalties pull {pull.penalty_ratio:.2g} and weight decay {pull.decay_ratio:.2g} times as hard as the data"
    if measured.total_scaling is None:
        return text
    return f"{text}; twice the batch gives {measured.total_scaling:.3g} times the loss, expected 1"
