"""Shapes and element types: views that mix, bytes that overflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nndoctor.findings import Confidence
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import joined, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import MIXED, Dim, order, product
from nndoctor.scan.values import Site, Term
from nndoctor.thresholds import Threshold

EXERCISE = Threshold(
    "ND501",
    "exercise",
    64,
    "Elements that a lesson prints to look at; the smallest image of a data set, 8 by 8, is no larger.",
)


@rule("ND501", "ND502", "ND617")
def view_that_mixes(program: Program) -> Iterator[Draft]:
    listed = joined.views_of_lists(program)
    for event in program.of("mixed view"):
        source, target = event.details["source"], event.details["target"]
        if _is_exercise(event, source, target):
            continue
        code = "ND617" if id(event.site.node) in listed else "ND502" if _merges_batch(source, target) else "ND501"
        message = f"`{wording.text(event.site)}` reads the elements in another order than they lie in memory"
        if code == "ND502":
            message = f"`{wording.text(event.site)}` puts values of different examples into one row"
        confidence = Confidence.CERTAIN if event.details["known"] else Confidence.LIKELY
        yield Draft(code, event.site, message, _evidence(event), confidence)


def _is_exercise(event: Event, source: Sequence[Dim], target: Sequence[Dim]) -> bool:
    """Whether a handful of numbers is looked at from another side: `torch.arange(6).view(2, 3).view(3, 2)`."""
    size = product(source)
    top = not event.loops and event.frames[-1].function is None
    return top and not size.atoms and not any(dim.atoms for dim in target) and size.number <= EXERCISE.value


def _merges_batch(source: Sequence[Dim], target: Sequence[Dim]) -> bool:
    """Whether the view has fewer dimensions, and its first takes in values of several examples."""
    kept = [d for d in target if not d.is_one]
    rows = (kept[0], product(kept[1:]))
    return len(kept) < len(source) and not kept[0].equals(source[0]) and order(source, rows) == MIXED


def _evidence(event: Event) -> tuple[tuple[Site, str], ...]:
    site = event.subject.site if type(event.subject) is Term else None
    return ((site, "the tensor comes from here"),) if site is not None else ()


@rule("ND601")
def uint8_overflow(program: Program) -> Iterator[Draft]:
    for event in program.of("byte arithmetic"):
        message = f"`{wording.text(event.site)}` computes on bytes, which wrap around at 256"
        evidence = _made_bytes(event.subject)
        yield Draft("ND601", event.site, message, evidence, Confidence.CERTAIN)


def _made_bytes(term: Term) -> tuple[tuple[Site, str], ...]:
    """Where the value became bytes."""
    current = term
    while current.inputs and type(current.inputs[0]) is Term and current.inputs[0].dtype == "uint8":
        current = current.inputs[0]
    site = current.site
    if site is None:
        return ()
    return ((site, "bytes (uint8) from here"),)
