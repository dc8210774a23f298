"""Isolation: runs a model in each of its modes with one example changed at a time, and finds where examples meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nndoctor.probe.batch import Batch
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call, Examples, few_examples, why_no_examples
from nndoctor.probe.influence import Effect, Influence, effects, gradient_influence, influence, run
from nndoctor.probe.ownership import State, Step, culprit, trace
from nndoctor.probe.recording import Recording, record
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

THRESHOLD = Threshold(
    "NDP04",
    "influence",
    1e-3,
    "A healthy model reads exactly 0, also under autocast, because both sides have the same shapes and random "
    "numbers. Atomic additions on CUDA move sums by 1e-6; centring over 11 examples, the most we take, moves "
    "the others by 1/11.",
)
# Where one batch run twice differs by more than this share of what the edits do, nothing can be said.
LARGEST_NOISE = 0.01
# Deviation of the noise added to every parameter, so that zero-initialised heads and residual branches hide nothing;
# the smaller ones where outputs overflow.
JITTERS = (0.1, 0.01, 0.0)
# Examples that are changed in turn, each at the price of a forward pass in every setting.
LARGEST_COUNT = 11
# Examples that are followed through the operations; two that meet are enough to see where.
LARGEST_FOLLOWED = 5


@dataclass(frozen=True, slots=True)
class Setting:
    """How the model is run: its mode, and whether batch norm may use the statistics of the batch."""

    training: bool
    batch_norm: bool
    phrase: str


EVAL = Setting(training=False, batch_norm=False, phrase="")
TRAIN = Setting(training=True, batch_norm=False, phrase="in train mode ")
EVAL_BATCH_NORM = Setting(training=False, batch_norm=True, phrase="in eval mode ")
TRAIN_BATCH_NORM = Setting(training=True, batch_norm=True, phrase="in train mode ")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The influence of the examples on each other in one setting."""

    influence: Influence
    noise: float  # by how much the unchanged batch differs from itself, in units of the effect of the edits

    @property
    def off_diagonal(self) -> float:
        """The largest effect of an example on the output of another, in units of that on its own."""
        return self.influence.off_diagonal

    @property
    def mixes(self) -> bool:
        """Whether that is more than rounding."""
        return self.off_diagonal > max(THRESHOLD.value, 10 * self.noise)


def choose_examples(subject: Subject, batch: Batch) -> tuple[Examples, list[Examples]]:
    """A few examples of the batch, and other readings of it that are as likely as the first."""
    sizes = likely_sizes(batch, subject.batches.size)
    if not sizes or sizes[0] < 2:
        raise NotApplicableError("the batch holds fewer than two examples")
    if reason := why_no_examples(subject.split(batch), sizes[0]):
        raise NotApplicableError(reason)
    found = [_first_that_runs(subject, few_examples(subject, batch, size)) for size in sizes]
    if found[0] is None:
        raise NotApplicableError("the model could not be run on its own on examples of the batch")
    return found[0], [other for other in found[1:] if other]


def _first_that_runs(subject: Subject, candidates: Iterator[Examples]) -> Examples | None:
    for examples in candidates:
        with subject.sandbox():
            try:
                run(subject, examples.call())
            except Exception:  # the user's code may raise anything when its batch is smaller than usual
                continue
        return examples
    return None


@torch.no_grad()
def jitter(subject: Subject, examples: Examples) -> float:
    """Add noise to every parameter; returns its deviation, which is the largest with which outputs stay finite."""
    parameters = [parameter for parameter in subject.model.parameters() if parameter.is_floating_point()]
    kept = [parameter.clone() for parameter in parameters]
    for deviation in JITTERS:
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value + deviation * torch.randn_like(value))
        with subject.sandbox():
            subject.model.eval()
            if all(bool(output.isfinite().all()) for output in run(subject, examples.call())):
                return deviation
    return 0.0


def changed(examples: Examples, setting: Setting) -> list[int]:
    """The examples that are changed in turn; fewer in train mode, once eval mode has shown that they are apart."""
    columns = min(examples.count, LARGEST_COUNT)
    return _spread(columns) if setting.training else list(range(columns))


def _spread(columns: int) -> list[int]:
    """The first, a middle and the last example: information may flow in one direction only."""
    return sorted({0, columns // 2, columns - 1})


def read(subject: Subject, examples: Examples, setting: Setting) -> Reading:
    """Run the batch, the batch again, and the batch with examples changed, all from the same state."""
    with _applied(subject.model, setting), subject.sandbox() as rewind:

        def outputs(call: Call) -> list[Tensor]:
            rewind()
            return [tensor.detach() for tensor in run(subject, call)]

        base = outputs(examples.call())
        again = effects(base, outputs(examples.call()), examples.count)
        edits = {
            example: effects(base, outputs(examples.edited(example)), examples.count)
            for example in changed(examples, setting)
        }
    found = influence([tuple(tensor.shape) for tensor in base], edits, examples.count)
    noise = _norm(again[found.output])
    effect = max(_norm(edit[found.output]) for edit in edits.values())
    if noise > LARGEST_NOISE * effect > 0:
        raise NotApplicableError("the model gives other outputs for the same batch, weights and random numbers")
    return Reading(found, noise / effect if effect else 0.0)


def _norm(effect: Effect | None) -> float:
    return effect.norm if effect else 0.0


def try_read(subject: Subject, examples: Examples, setting: Setting) -> Reading | None:
    """The same, None where this setting tells nothing."""
    try:
        return read(subject, examples, setting)
    except NotApplicableError:
        return None


@contextmanager
def _applied(model: nn.Module, setting: Setting) -> Iterator[None]:
    """The model in a setting; batch norm that is set aside divides by running statistics, if need be made up."""
    model.train(setting.training)
    norms = [] if setting.batch_norm else _batch_norms(model)
    made_up = [norm for norm in norms if norm.running_mean is None]
    for norm in norms:
        norm.eval()
    for norm in made_up:
        reference = next(norm.parameters(), torch.empty(0, device=next(model.parameters()).device))
        norm.running_mean = torch.zeros(norm.num_features, device=reference.device)
        norm.running_var = torch.ones(norm.num_features, device=reference.device)
    try:
        yield
    finally:
        for norm in made_up:
            norm.running_mean = norm.running_var = None


def other_settings(model: nn.Module) -> list[Setting]:
    """The settings that can tell more about a model whose examples are apart in eval mode."""
    norms = _batch_norms(model)
    without_statistics = [EVAL_BATCH_NORM] if any(norm.running_mean is None for norm in norms) else []
    return [TRAIN, *without_statistics, *([TRAIN_BATCH_NORM] if norms else [])]


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def off_diagonal_gradient(subject: Subject, examples: Examples, reading: Reading) -> float | None:
    """The largest gradient between examples in eval mode, in the output in which edits show most; None without any."""
    rows = {*_spread(min(examples.count, LARGEST_COUNT))}
    if reading.mixes:
        rows.add(first_touched(reading.influence)[0])
    with _applied(subject.model, EVAL), subject.sandbox():
        return gradient_influence(subject, examples, reading.influence.output, sorted(rows))


def refuse_ambiguous(subject: Subject, others: list[Examples]) -> None:
    """Sequence-first data read as batch-first look mixed: say nothing where the other reading comes out clean."""
    for examples in others:
        reading = try_read(subject, examples, EVAL)
        if reading and not reading.mixes and reading.influence.matrix.any():
            raise NotApplicableError(
                f"the outputs are apart along a dimension of {examples.size} and mixed along the other, and nothing "
                "tells which of the two counts the examples"
            )


# ------------------------------------------------------------------------------------------------- where it happens


def locate(subject: Subject, examples: Examples, setting: Setting, reading: Reading) -> Step | None:
    """The operation to blame, from recordings of the same call with one example changed at a time.

    Where the control flow depends on the data and the way to the outputs is lost, the first that mixes at all; not in
    train mode, where such ways also shift the random numbers of other examples.
    """
    followed = _followed(reading.influence)
    with _applied(subject.model, setting), subject.sandbox() as rewind:

        def recording(call: Call) -> Recording:
            rewind()
            return record(lambda: run(subject, call), subject.model)

        base, again = recording(examples.call()), recording(examples.call())
        edited = {example: recording(examples.edited(example)) for example in followed}
    steps = trace(base, again, edited, examples.count)
    blamed = culprit(steps, base.sources[reading.influence.output], examples.count)
    if blamed or setting.training:
        return blamed
    return next((step for step in steps if step.state is State.MIXED), None)


def _followed(measured: Influence) -> list[int]:
    """The first example whose output is touched by others, and these others."""
    row, others = first_touched(measured)
    return [row, *others][:LARGEST_FOLLOWED]


def first_touched(measured: Influence) -> tuple[int, list[int]]:
    """The first output that other examples influence, and these examples."""
    touched = measured.off_diagonals > THRESHOLD.value
    row = int(touched.any(dim=1).nonzero()[0])
    return row, [measured.changed[column] for column in touched[row].nonzero().flatten().tolist()]
