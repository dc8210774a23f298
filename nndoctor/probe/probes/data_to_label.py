"""NDP12: the inputs must say something of the labels, to a simple baseline if not to the model."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (everybody's name for it)
from torch import Tensor

from nndoctor.findings import Evidence, Finding
from nndoctor.probe.batch import Batch, batch_index, clone, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.criteria import is_integer
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.fitting import adam, calm, descend
from nndoctor.probe.labels import read_labels
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.smoothers import Signal, above_chance, manageable, signals
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.thresholds import Threshold

RATE = 3e-3  # Adam's, as where the gain from the inputs is measured
HELD_OUT = 3  # one batch in so many
TIME_SHARE = 0.5
INFORMED = Threshold(
    "NDP12",
    "informed",
    4.0,
    "The best view of 128 examples: 11 to 34 deviations above permuted labels in healthy data, -1.6 to 5.2 "
    "(one in 60 above 4) where the labels were permuted before.",
)
# With fewer examples, or fewer of each class, a hard task looks like labels that are permuted.
FEWEST, FEWEST_OF_CLASS, FEWEST_HELD_OUT = 256, 20, 64
MOST_TARGETS = 1024  # numbers an example
JUDGED = (TaskKind.CLASSIFICATION, TaskKind.MULTI_LABEL, TaskKind.REGRESSION)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Examples in the order of the loader: inputs (n, ...) and targets (n, k), one-hot where they are classes."""

    inputs: Tensor
    targets: Tensor
    fewest_of_class: int | None = None  # examples of the rarest class; None for targets that are no classes


@probe("NDP12")
def data_to_label(subject: Subject, effort: Effort) -> Outcome:
    """Foretell each example's label from the others; where that fails, see whether training helps held-out examples."""
    pairs = _pairs(subject, subject.batches.first())
    count = manageable(pairs.inputs)
    found = list(signals(pairs.inputs[:count], pairs.targets[:count], subject.seed))
    if not found:
        raise NotApplicableError("the inputs are the same for every example")
    best = max(found, key=lambda signal: signal.deviations)
    enough = count >= FEWEST and (pairs.fewest_of_class or FEWEST_OF_CLASS) >= FEWEST_OF_CLASS
    doubtful = best.deviations < INFORMED.value and enough
    held_out = _held_out(subject, effort) if doubtful else None
    verdicts = () if held_out is None or held_out >= INFORMED.value else (_finding(subject, count, best, held_out),)
    few = "" if enough or best.deviations >= INFORMED.value else f"; {count} examples are too few to judge"
    return Outcome(
        summary=f"the inputs foretell the targets {best.deviations:.1f} deviations above chance "
        f"({best.method} of the {best.view}){few}",
        findings=verdicts,
        measurements={f"{signal.method} of the {signal.view}": signal.deviations for signal in found}
        | {"examples": count}
        | ({} if held_out is None else {"trained model on held-out examples": held_out}),
        steps=effort.steps if doubtful else 0,
    )


# ------------------------------------------------------------------------------------------------- the examples


def _pairs(subject: Subject, batches: list[Batch]) -> Pairs:
    """All examples of the batches; raises NotApplicableError where a baseline would mean nothing."""
    if subject.task.kind not in JUDGED:
        raise NotApplicableError("there is no label or number to foretell for each example")
    inputs, targets = zip(*(_pair(subject, batch) for batch in batches), strict=True)
    if len({tuple(each.shape[1:]) for each in inputs}) > 1 or len({tuple(each.shape[1:]) for each in targets}) > 1:
        raise NotApplicableError("the batches have examples of different shapes, which no baseline compares")
    values = torch.cat(targets)
    if subject.task.kind is not TaskKind.CLASSIFICATION:
        scaled = values.reshape(len(values), -1).double()
        return Pairs(torch.cat(inputs), scaled / scaled.std(0).clamp_min(1e-12))
    labels = read_labels(subject, batches)
    if labels is None:
        raise NotApplicableError("there is not one label an example")
    classes = sorted(labels.counts)
    columns = torch.tensor([classes.index(label) for label in labels.values], device=values.device)
    return Pairs(torch.cat(inputs), F.one_hot(columns).double(), min(Counter(labels.values).values()))


def _pair(subject: Subject, batch: Batch) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one batch, the examples first."""
    sizes = likely_sizes(batch, subject.batches.size)
    split = subject.split(batch)
    target = next(iter(tensors(split.targets)), None)
    if not sizes or target is None or target.shape[:1] != (sizes[0],) or target.numel() > sizes[0] * MOST_TARGETS:
        raise NotApplicableError("there is no label or number to foretell for each example")
    targets = {id(tensor) for tensor in tensors(split.targets)}
    given = [tensor for tensor in tensors((split.args, split.kwargs)) if id(tensor) not in targets and tensor.ndim]
    if any(is_integer(tensor) for tensor in given):
        raise NotApplicableError("the inputs hold tokens or categories, whose distances mean nothing")
    rows = [_examples_first(tensor, sizes[0]) for tensor in given if tensor.is_floating_point()]
    rows = [tensor for tensor in rows if len(tensor) == sizes[0]]
    if not rows:
        raise NotApplicableError("no input has an example for each target")
    return (rows[0] if len(rows) == 1 else torch.cat([tensor.flatten(1) for tensor in rows], 1)), target


def _examples_first(tensor: Tensor, size: int) -> Tensor:
    return tensor.movedim(len(batch_index(tensor, size, [0])) - 1, 0)


# ------------------------------------------------------------------------------------------------- the model


def _held_out(subject: Subject, effort: Effort) -> float | None:
    """How well a shortly trained model foretells examples it has not seen; None where that cannot be told."""
    batches = subject.batches.first()
    unseen = batches[: len(batches) // HELD_OUT]
    seen = batches[len(unseen) :]
    if subject.objective is None or not any(each.requires_grad for each in subject.model.parameters()) or not unseen:
        return None
    with subject.sandbox():
        calm(subject.model)
        steps = itertools.islice(map(clone, itertools.cycle(seen)), effort.steps)
        deadline = time.monotonic() + TIME_SHARE * effort.seconds
        descend(subject, steps, adam(subject.model, RATE), deadline=deadline)
        with torch.no_grad():
            outputs = [subject.output_tensor(subject.compute_loss(subject.model, clone(each))[1]) for each in unseen]
    foretold = torch.cat(outputs).double()
    foretold = foretold.reshape(len(foretold), -1)
    targets = _pairs(subject, unseen).targets
    if subject.task.kind is TaskKind.CLASSIFICATION:
        targets = F.one_hot(torch.tensor(_labels(subject, unseen)), foretold.shape[1]).to(foretold)
        foretold = foretold.log_softmax(1)
    if len(targets) < FEWEST_HELD_OUT or foretold.shape != targets.shape or not bool(foretold.isfinite().all()):
        return None
    return above_chance(foretold, targets - targets.mean(0), subject.seed)


def _labels(subject: Subject, batches: list[Batch]) -> tuple[int, ...]:
    labels = read_labels(subject, batches)
    assert labels is not None, "the baselines have read them"
    return labels.values


def _finding(subject: Subject, examples: int, best: Signal, held_out: float) -> Finding:
    labels = "labels" if subject.task.kind is TaskKind.CLASSIFICATION else "targets"
    return finding(
        "NDP12",
        f"the inputs say nothing of the {labels}: over {examples} examples neighbours, ridge regression and "
        "the trained model foretell them no better than permuted ones",
        evidence=(
            Evidence(
                f"the best of the baselines, each example left out: {best.deviations:.1f} deviations above chance"
            ),
            Evidence(f"the model after a short training, on examples that it has not seen: {held_out:.1f}"),
            Evidence("healthy data: 11 and more"),
        ),
        location=subject.data_location or subject.location,
        source_line=subject.data_source_line if subject.data_location else subject.source_line,
        measurements={
            "cause": "labels without relation to the inputs",
            "baselines": best.deviations,
            "model": held_out,
        },
    )
