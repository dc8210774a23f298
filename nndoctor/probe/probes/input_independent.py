"""NDP07: the outputs must depend on the inputs, and training must gain from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Evidence, Figure, Finding, Series, Severity
from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.blame import source_line
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call, Examples
from nndoctor.probe.fitting import adam, calm, descend
from nndoctor.probe.influence import run
from nndoctor.probe.isolation import choose_examples, jitter
from nndoctor.probe.memory import Undo
from nndoctor.probe.recording import Operation, Recording, changed, record
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.splitting import input_names
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

RATE = 3e-3  # Adam's; outputs move within a dozen steps even if the head starts at zero
STEPS_SHARE = 5  # of the steps of a fit, for each of two fits
FAINT = Threshold(
    "NDP07",
    "faint",
    1e-4,
    "Of the outputs, by how much other inputs change them after the short training: 0.11 to 1.4 in healthy models.",
)


@dataclass(frozen=True, slots=True)
class Fits:
    """Losses of the same short training on the inputs, and on inputs that are all the same."""

    real: tuple[float, ...]
    blank: tuple[float, ...]
    effect: float  # of other inputs on the outputs, after the training on the real ones

    @property
    def gain(self) -> float:
        """By how much the inputs lower the loss at the end, as a share of the loss without them."""
        last = max(len(self.real) // 3, 1)
        real, blank = (sum(losses[-last:]) / last for losses in (self.real, self.blank))
        return (blank - real) / abs(blank) if blank else 0.0


@probe("NDP07")
def input_independent(subject: Subject, effort: Effort) -> Outcome:
    """Change each input in turn and see whether any output follows; then train shortly with and without inputs."""
    examples, _ = choose_examples(subject, subject.batches.first(1)[0])
    with subject.sandbox():
        jitter(subject, examples)
        measured = ((number, _effect(subject, examples, number)) for number in _numbers(examples))
        effects = {number: effect for number, effect in measured if effect is not None}
        if not effects:
            raise NotApplicableError("no input can be changed: each has the same value everywhere")
        ignored = [number for number, effect in effects.items() if effect == 0]
        found = [_ignored(subject, examples, number, len(effects)) for number in ignored]
    fits = _fits(subject, examples, effort) if len(ignored) < len(effects) else None
    if fits and fits.effect < FAINT.value and not found:
        found = [_faint(subject, fits)]
    figures: dict[str, Figure] = {
        f"effect of `{_name(subject, examples, number)}`": effect for number, effect in effects.items()
    }
    return Outcome(
        summary=_summary(len(effects), len(ignored), fits),
        findings=tuple(found),
        measurements=figures | _figures(fits),
        series=_series(fits) if fits else {},
        steps=2 * len(effects) + (2 * len(fits.real) if fits else 0),
    )


# ------------------------------------------------------------------------------------------------- does it matter


def _numbers(examples: Examples) -> list[int]:
    return [number for number, _ in examples.places]


def _effect(subject: Subject, examples: Examples, number: int, least: float = 0.0) -> float | None:
    """The change of the outputs with one input in eval mode; in train mode, where there it is not above the least.

    None for an input that has the same value everywhere, so that there is no other to give it.
    """
    same, other = (tensors(call)[number] for call in (examples.call(), examples.with_other_input(number)))
    if torch.equal(same, other):
        return None
    edit = partial(examples.with_other_input, number)
    in_eval = _change(subject, examples, edit, training=False)
    return in_eval if in_eval > least else max(in_eval, _change(subject, examples, edit, training=True))


@torch.no_grad()
def _change(subject: Subject, examples: Examples, edit: Callable[[], Call], *, training: bool) -> float:
    """The norm of the change of all outputs by theirs, with the same random numbers.

    Infinite where shapes change or outputs are NaN.
    """
    with subject.sandbox() as rewind:
        subject.model.train(training)
        outputs = []
        for call in (examples.call(), edit()):
            rewind()
            subject.model.train(training)
            outputs.append([tensor.double() for tensor in run(subject, call)])
    before, after = outputs
    finite = all(bool(tensor.isfinite().all()) for tensor in before)
    if not finite or [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return math.inf
    difference = sum(_square(one - other) for one, other in zip(before, after, strict=True))
    size = sum(map(_square, before))
    return math.sqrt(difference / size) if size else float(difference > 0)


def _square(tensor: Tensor) -> float:
    return float(tensor.square().sum())


# ------------------------------------------------------------------------------------------------- does it help


def _fits(subject: Subject, examples: Examples, effort: Effort) -> Fits | None:
    """The same few steps from the same weights with and without inputs; None without a loss that can be trained."""
    if subject.objective is None or not any(parameter.requires_grad for parameter in subject.model.parameters()):
        return None
    steps = max(effort.steps // STEPS_SHARE, 1)
    half = time.monotonic() + effort.seconds / 3
    with subject.sandbox() as rewind:
        blank = _losses(subject, map(partial(_blanked, subject), subject.batches.cycle(steps)), half)
        rewind()
        real = _losses(subject, subject.batches.cycle(steps), half + effort.seconds / 3)
        measured = (_effect(subject, examples, number, FAINT.value) for number in _numbers(examples))
        effect = max(effect for effect in measured if effect is not None)
    finite = all(map(math.isfinite, (*real, *blank, effect)))
    return Fits(real, blank, effect) if real and finite and len(real) == len(blank) else None


def _losses(subject: Subject, batches: Iterator[Batch], deadline: float) -> tuple[float, ...]:
    calm(subject.model)
    try:
        losses = descend(subject, batches, adam(subject.model, RATE), deadline=deadline)
    except Exception:  # a model may raise anything for inputs that are all the same
        return ()
    return tuple(losses)


@torch.no_grad()
def _blanked(subject: Subject, batch: Batch) -> Batch:
    """The batch with floating-point inputs of zero, and every token the same."""
    split = subject.split(batch)
    targets = {id(target) for target in tensors(split.targets)}
    for given in tensors((split.args, split.kwargs)):
        if id(given) not in targets and given.is_floating_point():
            given.zero_()
        elif id(given) not in targets and given.ndim > 1 and given.dtype is not torch.bool and int(given.max()) > 1:
            given.fill_(given.flatten()[0])
    return batch


# ------------------------------------------------------------------------------------------------- verdicts


def _ignored(subject: Subject, examples: Examples, number: int, inputs: int) -> Finding:
    last = _last_carrier(subject, examples, number)
    place = last.location if last else None
    name = _name(subject, examples, number)
    evidence = Evidence(
        f"`{last.name}`: the last operation whose result depends on `{name}`; the outputs make nothing of it"
        if last
        else f"no operation's result depends on `{name}`",
        place,
        source_line(place.path, place.line) if place else None,
    )
    return finding(
        "NDP07",
        "the outputs do not depend on the inputs"
        if inputs == 1
        else f"the outputs do not depend on the input `{name}`",
        severity=None if inputs == 1 else Severity.WARNING,
        confidence=Confidence.CERTAIN if inputs == 1 else Confidence.LIKELY,
        location=place or subject.location,
        source_line=evidence.source_line if place else subject.source_line,
        evidence=(evidence,),
        measurements={
            "cause": "inputs ignored" if inputs == 1 else "input ignored",
            "input": name,
            "effect": 0.0,
            "operation": last.name if last else None,
        },
    )


def _last_carrier(subject: Subject, examples: Examples, number: int) -> Operation | None:
    """The last operation whose result is another for another input."""
    with subject.sandbox() as rewind:
        subject.model.eval()
        calls = examples.call(), examples.call(), examples.with_other_input(number)
        base, again, edited = (_recording(subject, rewind, call) for call in calls)
    triples = zip(base.operations, again.operations, edited.operations, strict=False)
    return next((one for one, same, other in reversed([*triples]) if _differs(one, same, other)), None)


def _recording(subject: Subject, rewind: Undo, call: Call) -> Recording:
    rewind()
    subject.model.eval()
    return record(lambda: run(subject, call), subject.model)


def _differs(one: Operation, same: Operation, other: Operation) -> bool:
    return any(
        base.shape == again.shape == edited.shape and bool((changed(base, edited) & ~changed(base, again)).any())
        for base, again, edited in zip(one.outputs, same.outputs, other.outputs, strict=False)
    )


def _faint(subject: Subject, fits: Fits) -> Finding:
    return finding(
        "NDP07",
        f"the outputs hardly depend on the inputs: after {len(fits.real)} steps other inputs change them by "
        f"{fits.effect:.1g} of their size",
        treatment="Print the deviation of each layer's output over a batch: where it falls to nothing the signal is "
        "lost (inputs that are far too small, dead units, a constant added that is far too large).",
        severity=Severity.WARNING,
        location=subject.location,
        source_line=subject.source_line,
        measurements={"cause": "inputs fade", "effect": fits.effect, "gain": fits.gain},
    )


def _name(subject: Subject, examples: Examples, number: int) -> str:
    return input_names(subject.model, examples.args, examples.kwargs)[number]


def _figures(fits: Fits | None) -> dict[str, Figure]:
    if fits is None:
        return {}
    return {"gain from the inputs": fits.gain, "effect of the inputs after training": fits.effect}


def _series(fits: Fits) -> dict[str, Series]:
    return {
        "loss": Series(fits.real, "loss on the batches as they are", y_label="loss"),
        "loss without inputs": Series(
            fits.blank, "loss on batches with the same input for every example", y_label="loss"
        ),
    }


def _summary(inputs: int, ignored: int, fits: Fits | None) -> str:
    text = f"{inputs - ignored} of {inputs} inputs {'have' if inputs > 1 else 'has'} an effect"
    if fits is None:
        return text
    return f"{text}; in {len(fits.real)} steps they lower the loss by {fits.gain:.0%}"
