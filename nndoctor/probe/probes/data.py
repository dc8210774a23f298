"""NDP11: the first batches as the network sees them, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from nndoctor.findings import Confidence, Figure, Finding, Series, Severity
from nndoctor.probe.batch import Batch, leaves
from nndoctor.probe.effort import Effort
from nndoctor.probe.entry import Entry, read_entry
from nndoctor.probe.fitting import calm
from nndoctor.probe.labels import Labels, read_labels
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.rows import Rows, read_rows
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

LARGE = Threshold(
    "NDP11", "large", 100.0, "The first layer is given 0.5 to 1.5 (r.m.s.) in healthy models, decibels are 40."
)
# Fewer examples say little about repetition.
FEWEST_EXAMPLES = 8
FEW_DISTINCT = Threshold(
    "NDP11", "few-distinct", 0.25, "Of a batch 1.00 in healthy loaders, above 0.5 where rare classes are repeated."
)
SORTED = Threshold(
    "NDP11", "sorted", 0.25, "Of the changes that a random order of labels has, healthy loaders show 0.9 to 1.1."
)
FEWEST_CHANGES = 12  # expected; with fewer, a run is no surprise
LONG_RUN = Threshold("NDP11", "long-run", 64, "Impossible with balanced classes; of two classes one may be very rare.")
IMBALANCED = Threshold(
    "NDP11", "imbalanced", 0.95, "Always answering the most frequent class is then right this often."
)
ENOUGH_LABELS = 100
MOST_CLASSES = 100  # that a reader can tell apart by their number; more are shown by frequency alone
LEAKING = Threshold(
    "NDP11", "leaking", 0.05, "Data sets hold a few duplicates (CIFAR 3 %); a split that leaks shares far more."
)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What was looked at."""

    batches: list[Batch]
    rows: Rows
    validation: Rows | None
    labels: Labels | None
    entry: Entry | None


@probe("NDP11")
def data(subject: Subject, effort: Effort) -> Outcome:
    """Look at values, repetition, order and labels of the kept batches; run the model once to see its first layer."""
    sight = _look(subject)
    findings = [found for check in CHECKS for found in check(subject, sight)]
    return Outcome(
        summary=_summary(sight),
        findings=tuple(findings),
        measurements=_figures(sight),
        series={"balance": _balance(sight.labels)} if sight.labels else {},
        steps=1,
    )


def _look(subject: Subject) -> Sight:
    batches = subject.batches.first()
    validation = subject.validation
    with subject.sandbox():
        try:
            entry = read_entry(subject, subject.batches.first(1)[0])
        except Exception:  # only the user's step knows how to call the model
            entry = None
    return Sight(
        batches,
        read_rows(subject, batches, subject.batches.size),
        read_rows(subject, validation.first(), validation.size) if validation else None,
        read_labels(subject, batches),
        entry,
    )


# ------------------------------------------------------------------------------------------------- values


def _not_finite(subject: Subject, sight: Sight) -> Iterator[Finding]:
    """NaN that the loss does not get to see may be missing values that the user knows of."""
    for number, batch in enumerate(sight.batches):
        broken = [(path, t) for path, t in leaves(batch) if t.is_floating_point() and not bool(t.isfinite().all())]
        if not broken or math.isfinite(_loss(subject, number)):
            continue
        path, tensor = broken[0]
        count = int((~tensor.isfinite()).sum())
        what = "NaN" if bool(tensor.isnan().any()) else "infinity"
        yield _finding(
            subject,
            "NaN in the data",
            f"batch {number} holds {what} in {count} of {tensor.numel()} values of `{path or 'batch'}`, and the loss "
            "is not finite",
            treatment="Find the examples with `tensor.isfinite()` in the data set's __getitem__ and drop or fill them: "
            "one of them makes every weight NaN.",
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN,
            measurements={"batch": number, "values": count},
        )
        return


def _loss(subject: Subject, number: int) -> float:
    """The untrained loss of one batch; infinite where the model or the loss raises."""
    with subject.sandbox(), torch.no_grad():
        calm(subject.model)
        try:
            return float(subject.compute_loss(subject.model, subject.batches.first()[number])[0])
        except Exception:  # whatever user code raises for such values
            return math.inf


def _badly_scaled(subject: Subject, sight: Sight) -> Iterator[Finding]:
    entry = sight.entry
    if entry is None:
        return
    figures: dict[str, Figure] = {"mean": entry.mean, "deviation": entry.deviation}
    if entry.is_scaled_twice:
        yield _finding(
            subject,
            "pixels scaled twice",
            f"pixels reach `{entry.layer}` as 0 to {entry.high:.2g}: they were divided by 255 twice",
            treatment="Divide once: ToTensor() scales uint8 pictures to 0..1 already.",
            measurements=figures,
        )
    elif entry.is_normalised_next:
        return
    elif entry.is_raw_pixels:
        yield _finding(
            subject,
            "raw pixels",
            f"pixels reach `{entry.layer}` as whole numbers from {entry.low:.0f} to {entry.high:.0f}, not normalised",
            treatment=f"Subtract {entry.mean:.4g} and divide by {entry.deviation:.4g}, or divide by 255 and use "
            f"transforms.Normalize(mean={entry.mean / 255:.3f}, std={entry.deviation / 255:.3f}).",
            measurements=figures,
        )
    elif entry.size > LARGE.value and entry.from_floats:
        yield _finding(
            subject,
            "inputs not scaled",
            f"inputs reach `{entry.layer}` unscaled: mean {entry.mean:.4g}, deviation {entry.deviation:.4g}",
            treatment="Standardise each feature with the mean and deviation of the training set.",
            measurements=figures,
        )


# ------------------------------------------------------------------------------------------------- repetition


def _repeated(subject: Subject, sight: Sight) -> Iterator[Finding]:
    rows = sight.rows
    if rows.count < FEWEST_EXAMPLES or min(map(len, rows.batches)) < 2:
        return
    workers = min(subject.batches.workers, len(rows.batches))
    figures: dict[str, Figure] = {"examples": rows.count, "distinct": rows.distinct}
    if rows.distinct == 1:
        yield _finding(
            subject,
            "same inputs",
            f"all {rows.count} examples have the same inputs",
            treatment="Look at __getitem__: the inputs must depend on the index.",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY if _same_targets(sight) else Confidence.CERTAIN,
            measurements=figures,
        )
    elif rows.rich and rows.distinct_share < FEW_DISTINCT.value:
        yield _finding(
            subject,
            "few different examples",
            f"only {rows.distinct_share:.0%} of the examples in a batch are different",
            treatment="Look at __getitem__ and the sampler: each index should give another example.",
            measurements=figures,
        )
    elif rows.rich and workers > 1 and len(set(rows.batches[:workers])) == 1:
        yield _finding(
            subject,
            "workers alike",
            f"the first {workers} batches are the same: each of the {subject.batches.workers} workers gives the same "
            "examples",
            treatment="In an IterableDataset give each worker its part: "
            "info = torch.utils.data.get_worker_info(); itertools.islice(stream, info.id, None, info.num_workers). A "
            "random generator of your own needs another seed in each: default_rng((seed, info.id)).",
            severity=Severity.ERROR,
            measurements=figures,
        )


def _same_targets(sight: Sight) -> bool:
    """One example, perhaps repeated on purpose."""
    return sight.labels is not None and len(sight.labels.counts) == 1


def _leaking(subject: Subject, sight: Sight) -> Iterator[Finding]:
    rows, others = sight.rows, sight.validation
    if others is None or not others.count or not (rows.rich and others.rich) or rows.distinct == 1:
        return
    shared = others.shared_with(rows)
    if shared >= max(2, LEAKING.value * others.count):
        yield _finding(
            subject,
            "validation data in training",
            f"{shared} of {others.count} validation examples are training examples too",
            treatment="Split once, before anything else, and build each loader from its own part: "
            "torch.utils.data.random_split(data, [0.9, 0.1]).",
            severity=Severity.ERROR,
            measurements={"shared": shared, "validation examples": others.count},
        )


# ------------------------------------------------------------------------------------------------- labels


def _outside(subject: Subject, sight: Sight) -> Iterator[Finding]:
    """Labels that no output stands for, unless the loss is told to ignore them."""
    strange = subject.strange
    if strange is None:
        return
    yield _finding(
        subject,
        "label outside the outputs",
        f"the targets of batch {strange.batch} hold {strange.label}, and the model has {strange.classes} outputs, "
        "numbered from 0",
        treatment="Number the labels from 0 without gaps, give the last layer as many outputs as there are labels, or "
        "name the label to leave out: CrossEntropyLoss(ignore_index=...).",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN,
        measurements={"label": strange.label, "raised": strange.raised},
    )


def _badly_ordered(subject: Subject, sight: Sight) -> Iterator[Finding]:
    labels = sight.labels
    if labels is None:
        return
    if len(labels.counts) == 1 and labels.classes > 2 and len(labels.values) >= LONG_RUN.value:
        message = f"the first {len(labels.values)} examples all have label {labels.values[0]} of {labels.classes}"
    elif labels.expected_changes >= FEWEST_CHANGES and labels.changes < SORTED.value * labels.expected_changes:
        message = (
            f"the labels come in runs: {labels.changes} changes between neighbours, a random order has "
            f"{labels.expected_changes:.0f}"
        )
    else:
        return
    yield _finding(
        subject,
        "sorted labels",
        message,
        treatment="Shuffle the training data: DataLoader(..., shuffle=True). Batches of one class pull the weights to "
        "and fro, and spoil the statistics of batch norm.",
        measurements={"changes": labels.changes, "expected": labels.expected_changes},
    )


def _imbalanced(subject: Subject, sight: Sight) -> Iterator[Finding]:
    labels = sight.labels
    if labels is None or labels.classes != 2:
        return
    if len(labels.values) < ENOUGH_LABELS or labels.majority < IMBALANCED.value:
        return
    holder = subject.objective and subject.objective.holder
    if any(getattr(holder, name, None) is not None for name in ("weight", "pos_weight")):
        return
    (label, _), *_ = labels.counts.most_common(1)
    weights = [len(labels.values) / (2 * max(labels.counts[each], 1)) for each in (0, 1)]
    yield _finding(
        subject,
        "uneven classes",
        f"{labels.majority:.0%} of the labels are {label}: that answer alone has an accuracy of {labels.majority:.0%}",
        treatment=f"Judge by average precision or balanced accuracy; weigh the classes {weights[0]:.3g} to "
        f"{weights[1]:.3g} in the loss, or draw them evenly with WeightedRandomSampler.",
        severity=Severity.INFO,
        measurements={"majority": labels.majority, "labels": len(labels.values)},
    )


CHECKS = (_not_finite, _outside, _repeated, _badly_scaled, _badly_ordered, _imbalanced, _leaking)


# ------------------------------------------------------------------------------------------------- the report


def _finding(
    subject: Subject,
    cause: str,
    message: str,
    *,
    treatment: str,
    measurements: dict[str, Figure],
    severity: Severity | None = None,
    confidence: Confidence = Confidence.LIKELY,
) -> Finding:
    """It points at the loader or the data set, as far as these are the user's."""
    return finding(
        "NDP11",
        message,
        treatment=treatment,
        severity=severity,
        confidence=confidence,
        location=subject.data_location,
        source_line=subject.data_source_line,
        measurements={**measurements, "cause": cause},
    )


def _figures(sight: Sight) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"batches": len(sight.batches), "examples": sight.rows.count}
    figures["different examples in a batch"] = sight.rows.distinct_share
    if entry := sight.entry:
        figures |= {"smallest input": entry.low, "largest input": entry.high}
        figures |= {"mean input": entry.mean, "deviation of the inputs": entry.deviation}
    if labels := sight.labels:
        figures |= {"labels seen": len(labels.counts), "share of the most frequent label": labels.majority}
        if labels.expected_changes:
            figures["changes of label, against a random order"] = labels.changes / labels.expected_changes
    if sight.validation:
        figures["validation examples seen in training"] = sight.validation.shared_with(sight.rows)
    return figures


def _balance(labels: Labels) -> Series:
    """How often each class occurs; of very many classes, the frequencies from the highest to the lowest."""
    even = {"all alike": len(labels.values) / labels.classes}
    if labels.classes > MOST_CLASSES:
        frequencies = tuple(float(count) for _, count in labels.counts.most_common())
        return Series(frequencies, "how often each label occurs", x_label="label, by frequency", references=even)
    counts = tuple(float(labels.counts[label]) for label in range(labels.classes))
    names = tuple(map(str, range(labels.classes)))
    return Series(counts, "how often each label occurs", x_label="label", names=names, references=even)


def _summary(sight: Sight) -> str:
    parts = [f"{sight.rows.count} examples, {sight.rows.distinct} different"] if sight.rows.count else []
    if entry := sight.entry:
        expected = ", expected about 0 ± 1" if entry.from_floats else ""  # embeddings are as wide as they are
        parts.append(f"`{entry.layer}` is given {entry.mean:.3g} ± {entry.deviation:.3g}{expected}")
    if labels := sight.labels:
        parts.append(f"{len(labels.counts)} of {labels.classes} labels seen")
    return "; ".join(parts) or f"{len(sight.batches)} batches, whose examples cannot be told apart"
