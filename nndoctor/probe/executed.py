"""Which lines of the user's files a check-up runs: what the scan says of others, no probe can confirm or refute."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from types import CodeType, FrameType
from typing import Any

import torch

from nndoctor.findings import Location
from nndoctor.probe.blame import is_user_file, location_of
from nndoctor.probe.subject import Subject

Lines = defaultdict[str, set[int]]


def executed_lines(subject: Subject) -> Mapping[str, tuple[int, ...]]:
    """By reported path: a loss in train mode, outputs in eval mode, and what has made the model's modules.

    Of loader and optimizer, which have run already, there is no more than the line where each begins.
    """
    batch = subject.batches.first(1)[0]
    with subject.sandbox(), torch.no_grad(), _traced() as lines:
        with suppress(Exception):  # what the user's code raises is for the probes to say
            subject.model.train()
            subject.compute_loss(subject.model, batch)
        with suppress(Exception):
            subject.model.eval()
            subject.forward(subject.model, batch)
    for kind in {ancestor for module in subject.model.modules() for ancestor in type(module).__mro__}:
        _add(lines, getattr(vars(kind).get("__init__"), "__code__", None))
    found = defaultdict[str, set[int]](set)
    for filename, numbers in lines.items():
        found[location_of(filename, 1).path] |= numbers
    for place in _beginnings(subject):
        found[place.path].add(place.line)
    return {path: tuple(sorted(numbers)) for path, numbers in found.items()}


def _beginnings(subject: Subject) -> Iterable[Location]:
    optimizer = subject.optimizer.location if subject.optimizer else None
    return filter(None, (subject.location, subject.data_location, optimizer))


@contextmanager
def _traced() -> Iterator[Lines]:
    lines: Lines = defaultdict(set)

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        lines[frame.f_code.co_filename].add(frame.f_lineno)
        return on_line

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        return on_line if _is_users(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield lines
    finally:
        sys.settrace(before)


def _add(lines: Lines, code: CodeType | None) -> None:
    if code is not None and _is_users(code.co_filename):
        lines[code.co_filename] |= {line for *_, line in code.co_lines() if line}


@cache
def _is_users(filename: str) -> bool:
    return is_user_file(filename)
