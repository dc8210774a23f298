"""Tensors that are put together and then viewed as if they had been put together along another axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nndoctor.findings import Confidence
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import MIXED, Dim, dimension, fits_without_first, order, product
from nndoctor.scan.values import Site, Term, Value


@rule("ND501", "ND617")
def joined_and_reshaped(program: Program) -> Iterator[Draft]:
    """Steps that a loop collected are a sequence to be transposed; a list of images names the channels of one."""
    for event in program.of("joined view"):
        count = event.details["count"] or _appended(program, event.details["parts"])
        target = event.details["target"]
        if count is None or count.is_one:
            continue
        source = (*event.details["before"], count, *event.details["behind"])
        whole = _completed(source, target)
        if whole is None or order(source, whole) != MIXED or fits_without_first(source, target):
            continue
        code = "ND501" if event.details["count"] is None else "ND617"
        message = f"`{wording.text(event.site)}` deals out the elements of the joined tensors anew"
        yield Draft(code, event.site, message, _joined_here(event), Confidence.CERTAIN)


def views_of_lists(program: Program) -> set[int]:
    """The ids of the views of tensors that were named one by one where they were put together."""
    return {id(event.site.node) for event in program.of("joined view") if event.details["count"] is not None}


def _completed(source: Sequence[Dim], target: Sequence[Dim | None]) -> tuple[Dim, ...] | None:
    """The target with its -1 resolved, if it has exactly as many elements as the joined tensors have."""
    total, known = product(source), product([size for size in target if size is not None])
    rest = total.over(known)
    if rest is None or (None not in target and not rest.is_one) or list(target).count(None) > 1:
        return None
    return tuple(size or rest for size in target)


def _appended(program: Program, parts: Value) -> Dim | None:
    """How many tensors a loop over `range(n)` has appended to a list."""
    events = [event for event in program.of("append") if event.details["container"] is parts]
    nodes = {id(event.site.node) for event in events}
    iterable = events[0].loops[-1].iterable if len(nodes) == 1 else None
    if type(iterable) is not Term or iterable.op != "range" or len(iterable.inputs) != 1:
        return None
    return dimension(iterable.inputs[0])


def _joined_here(event: Event) -> tuple[tuple[Site, str], ...]:
    return tuple((site, "joined here") for site, _ in wording.made_at(event.subject))
