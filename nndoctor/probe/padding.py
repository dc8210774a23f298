"""Padding: which steps of which examples are there to fill up a batch, as a mask or lengths among the inputs tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.probe.batch import map_tensors, take, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.criteria import is_integer
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call
from nndoctor.probe.subject import Subject


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """One example of the batch, alone, with padding behind its last real step."""

    call: Call
    number: int  # of the sequence among the tensors of the call
    time: int  # its dimension that counts the steps
    steps: int
    real: int  # steps that are no padding
    told_by: str  # "mask" or "lengths"

    def filled(self) -> Call:
        """The same with other content where there was padding, and the same mask."""
        number = -1

        def fill(tensor: Tensor) -> Tensor:
            nonlocal number
            number += 1
            copy = tensor.detach().clone()
            if number == self.number:
                rest = copy.narrow(self.time, self.real, self.steps - self.real)
                known = copy.narrow(self.time, 0, self.real).flatten()
                rest.copy_(known[torch.randint(known.numel(), rest.shape, device=known.device)])
            return copy

        return map_tensors(fill, self.call)  # type: ignore[no-any-return]

    def cut(self) -> Call:
        """The same without its padding."""
        number = -1

        def shorten(tensor: Tensor) -> Tensor:
            nonlocal number
            number += 1
            dims = [self.time] if number == self.number else range(tensor.ndim)
            for dim in dims:
                if tensor.shape[dim] == self.steps:
                    tensor = tensor.narrow(dim, 0, self.real)
            return tensor.detach().clone()

        return map_tensors(shorten, self.call)  # type: ignore[no-any-return]

    def real_part(self, output: Tensor) -> Tensor:
        """The outputs of the real steps, along every dimension that counts the steps."""
        for dim in range(1, output.ndim) if output.shape[0] == 1 else range(output.ndim):
            if output.shape[dim] == self.steps:
                output = output.narrow(dim, 0, self.real)
        return output


def find_padded(subject: Subject) -> Padded:
    """The example with the most padding in the kept batches; raises NotApplicableError if there is none."""
    best: Padded | None = None
    for batch in subject.batches.first():
        split = subject.split(batch)
        sizes = likely_sizes(batch, subject.batches.size)
        targets = {id(target) for target in tensors(split.targets)}
        inputs = tensors((split.args, split.kwargs))
        given = [(number, each) for number, each in enumerate(inputs) if id(each) not in targets]
        for number, time, kept, told_by in _readings(given, sizes[0]) if sizes else ():
            example = int(kept.sum(1).argmin())
            real = int(kept[example].sum())
            if 0 < real < kept.shape[1] and (best is None or kept.shape[1] - real > best.steps - best.real):
                call = take((split.args, split.kwargs), [example], sizes[0])
                best = Padded(call, number, time, kept.shape[1], real, told_by)
    if best is None:
        raise NotApplicableError("no mask and no lengths tell of padding behind the examples")
    return best


def _readings(given: list[tuple[int, Tensor]], size: int) -> Iterator[tuple[int, int, Tensor, str]]:
    """Sequence, its dimension of time, (size, T) of the steps that are real, and what tells so."""
    for number, sequence in given:
        if sequence.ndim < 2 or size not in sequence.shape[:2] or _is_mask(sequence):
            continue
        time = 1 - sequence.shape[:2].index(size)
        content = sequence.transpose(0, 1) if time == 0 else sequence
        for other, told in given:
            if other != number and (found := _kept(told, content)):
                yield number, time, *found


def _kept(told: Tensor, content: Tensor) -> tuple[Tensor, str] | None:
    """The real steps if `told` marks a beginning of each example, behind which all content is one value."""
    size, steps = content.shape[:2]
    if told.shape == (size,) and is_integer(told) and 0 < int(told.min()) <= int(told.max()) <= steps:
        kept = torch.arange(steps, device=told.device) < told[:, None]
        return (kept, "lengths") if _is_right(kept.to(content.device), content) else None
    if not _is_mask(told) or told.ndim != 2 or {*told.shape} != {size, steps}:
        return None
    mask = (told if told.shape == (size, steps) else told.transpose(0, 1)).bool()
    return next(((kept, "mask") for kept in (mask, ~mask) if _is_right(kept, content)), None)


def _is_mask(tensor: Tensor) -> bool:
    return tensor.dtype is torch.bool or bool(((tensor == 0) | (tensor == 1)).all())


def _is_right(kept: Tensor, content: Tensor) -> bool:
    ends = bool((kept.long().diff(dim=1) <= 0).all()) and not bool(kept.all()) and bool(kept[:, 0].all())
    if not ends:
        return False
    filler = content[~kept]
    return len(filler.unique()) == 1 and len(content[kept].unique()) > 1  # type: ignore[no-untyped-call]
