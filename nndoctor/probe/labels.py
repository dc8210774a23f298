"""Labels: the class of each example in the order of the loader; how they are ordered and how frequent they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.subject import Subject, TaskKind


@dataclass(frozen=True, slots=True)
class Labels:
    """One label an example; `classes` is the number of outputs, 2 for one binary output."""

    values: tuple[int, ...]
    classes: int

    @property
    def counts(self) -> Counter[int]:
        """How often each label occurs."""
        return Counter(self.values)

    @property
    def majority(self) -> float:
        """The share of the most frequent label."""
        return max(self.counts.values()) / len(self.values)

    @property
    def expected_changes(self) -> float:
        """Neighbours with different labels if the order were random."""
        same = sum((count / len(self.values)) ** 2 for count in self.counts.values())
        return (len(self.values) - 1) * (1 - same)

    @property
    def changes(self) -> int:
        """Neighbours with different labels."""
        return sum(one != other for one, other in zip(self.values, self.values[1:], strict=False))


def read_labels(subject: Subject, batches: Sequence[Batch]) -> Labels | None:
    """None for a task that is no classification of examples."""
    values: list[int] = []
    for batch in batches:
        sizes = likely_sizes(batch, subject.batches.size)
        target = next(iter(tensors(subject.split(batch).targets)), None)
        if target is None or not sizes or target.numel() != sizes[0]:
            return None
        values += target.detach().flatten().long().tolist()
    task = subject.task
    if task.kind is TaskKind.CLASSIFICATION and task.classes:
        return Labels(tuple(values), task.classes)
    return Labels(tuple(values), 2) if task.kind is TaskKind.MULTI_LABEL and task.classes == 1 else None
