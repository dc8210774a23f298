"""Positions: follows a change at some steps of a sequence through a model, to where it reaches steps it must not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.findings import Evidence, Location
from nndoctor.probe.blame import source_line
from nndoctor.probe.examples import Call
from nndoctor.probe.memory import Undo
from nndoctor.probe.mixing import ATTENTION, NORMALISING, RECURRENT, REDUCING
from nndoctor.probe.ownership import layouts
from nndoctor.probe.recording import Imprint, Operation, Recording, changed, positions, record
from nndoctor.probe.subject import Subject

FUSED_ATTENTION = frozenset({"scaled_dot_product_attention"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
KINDS = (
    ("attention", ATTENTION),
    ("fused attention", FUSED_ATTENTION),
    ("softmax", NORMALISING),
    ("recurrent", RECURRENT),
    ("convolution", CONVOLUTIONS),
    ("reduction", REDUCING),
)


@dataclass(frozen=True, slots=True)
class Leak:
    """The operation through which a change reaches other steps."""

    name: str  # of the torch function
    kind: str  # one of KINDS, else empty
    module: str
    location: Location | None
    source_line: str | None

    def evidence(self, what: str) -> Evidence:
        """The operation as a step of the proof; `what` says what happens in it."""
        where = f" in {self.module}" if self.module else ""
        return Evidence(f"`{self.name}`{where}: {what}", self.location, self.source_line)


def find_leak(subject: Subject, rewind: Undo, calls: tuple[Call, Call, Call], may_change: Tensor) -> Leak | None:
    """The first operation on the way to the main output that carries the edit where it must not go.

    `calls` are the call, the same again, and the call with an edit; `may_change` tells for each of the T steps whether
    the edit may be seen there. None where the way is lost.
    """

    def recording(call: Call) -> Recording:
        rewind()
        return record(lambda: [main_output(subject, call)], subject.model)

    base, again, edited = map(recording, calls)
    operation = _first_stray(base, again, edited, may_change)
    if operation is None:
        return None
    place = operation.location
    line = source_line(place.path, place.line) if place else None
    kind = next((kind for kind, names in KINDS if operation.name in names), "")
    return Leak(operation.name, kind, operation.module, place, line)


def main_output(subject: Subject, call: Call) -> Tensor:
    """The main tensor that the model returns for the call."""
    args, kwargs = call
    with subject.precision():
        return subject.output_tensor(subject.model(*args, **kwargs))


def _first_stray(base: Recording, again: Recording, edited: Recording, may_change: Tensor) -> Operation | None:
    """Go back from the output through operations that the edit must not have changed as it did."""
    stray: dict[int, Operation] = {}
    for one, same, other in zip(base.operations, again.operations, edited.operations, strict=False):
        if len({one.call, same.call, other.call}) > 1:
            break  # the control flow depends on the data
        if any(
            _strays(*imprints, may_change) for imprints in zip(one.outputs, same.outputs, other.outputs, strict=True)
        ):
            stray[one.index] = one
    waiting, reached = list(base.sources[0]), set[int]()
    while waiting:
        index = waiting.pop()
        if index in stray and index not in reached:
            reached.add(index)
            waiting.extend(stray[index].inputs)
    first = [index for index in reached if not reached & {*stray[index].inputs}]
    return stray[min(first)] if first else None


def _strays(base: Imprint, again: Imprint, edited: Imprint, may_change: Tensor) -> bool:
    """Whether an element changed that belongs to a step which must not, however the tensor holds the steps.

    In a table of all pairs of steps, as attention scores are, a change shows in the rows and the columns of its steps.
    """
    if not base.shape == again.shape == edited.shape:
        return False
    touched = changed(base, edited) & ~changed(base, again)
    if not touched.any():
        return False
    coordinates = torch.unravel_index(positions(math.prod(base.shape))[touched], base.shape)
    steps = len(may_change)
    found = [
        (layout, may_change[layout.example(coordinates[layout.dim], steps)]) for layout in layouts(base.shape, steps)
    ]
    plain = [allowed for layout, allowed in found if layout.is_plain]
    tables = [one | other for one, other in itertools.combinations(plain, 2)]
    return not any(bool(allowed.all()) for allowed in (*(allowed for _, allowed in found), *tables))
