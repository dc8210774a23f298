"""What got better or worse between two check-ups: for people, a line each, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nndoctor.history.checkups import Checkup, Found
from nndoctor.history.comparison import Comparison, Move
from nndoctor.report.json import finite
from nndoctor.report.text import figure, plural, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

VERSION = 1
COMMIT = 12  # digits of a commit that are shown
STYLES = {"new": "bold red", "worse": "bold red", "failed": "bold red", "gone": "green", "better": "green"}
STYLES |= {"examined": "green", "moved": "cyan", "unexamined": "yellow"}
WORD = 12  # cells of the column that says new, gone, worse, ...


def render(comparison: Comparison, console: Console) -> None:
    """Print the comparison for people: what got worse first."""
    for line in _lines(comparison, console.width):
        line.rstrip()
        console.print(line, soft_wrap=True)


def concise(comparison: Comparison) -> str:
    """A line for each thing that changed: `new: error: a.py:3:1: ND101 message`; empty if nothing did."""
    lines = [f"{word}: {_of_found(found)}" for word, found in _found(comparison)]
    lines += [f"{move.verdict}: {_of_move(move)}" for move in _ordered(comparison.moves)]
    return "".join(printable(line) + "\n" for line in lines)


def to_json(comparison: Comparison) -> str:
    """One JSON document; its form is documented in the README."""
    document = {
        "version": VERSION,
        "summary": {"worse": comparison.worse, "better": comparison.better, "notes": list(comparison.notes)},
        "before": _checkup(comparison.before),
        "after": _checkup(comparison.after),
        **{word: [asdict(found) for found in getattr(comparison, word)] for word in FINDINGS},
        "measurements": [asdict(move) for move in comparison.moves],
    }
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


FINDINGS = ("new", "gone", "unchanged", "unexamined", "failed", "examined")


def _checkup(checkup: Checkup) -> dict[str, Any]:
    keys = ("source", "date", "commit", "dirty", "command", "target", "version")
    return {key: getattr(checkup, key) for key in keys}


def _found(comparison: Comparison) -> Iterator[tuple[str, Found]]:
    """What changed, the worst first; what stayed is none of it."""
    for word in ("new", "failed", "unexamined", "gone", "examined"):
        for found in getattr(comparison, word):
            yield word, found


def _ordered(moves: Sequence[Move]) -> list[Move]:
    return sorted(moves, key=lambda move: ("worse", "better", "moved").index(move.verdict))


def _of_found(found: Found) -> str:
    parts = (found.severity, found.place, f"{found.code} {found.message}".strip())
    return ": ".join(part for part in parts if part)


def _of_move(move: Move) -> str:
    return f"{move.code} {move.name}: {move.measurement} {figure(move.before)} -> {figure(move.after)}"


def _lines(comparison: Comparison, width: int) -> Iterator[Text]:
    from rich.text import Text

    from nndoctor.report.prose import justified, labelled

    tally = f"{comparison.worse} worse, {comparison.better} better"
    yield justified(Text("nndoctor compare", "bold"), tally, width)
    for label, checkup in (("before", comparison.before), ("after", comparison.after)):
        yield from labelled(label, _told(checkup), width)
    for note in comparison.notes:
        yield from labelled("note", note, width)
    yield Text()
    yield from _changes(comparison, width)
    yield Text(_closing(comparison), "dim")


def _closing(comparison: Comparison) -> str:
    if comparison.unchanged:
        return f"{plural(len(comparison.unchanged), 'finding')} as before."
    return "No findings now." if not comparison.after.findings else "Every finding is new."


def _told(checkup: Checkup) -> str:
    parts = [checkup.source, f"{checkup.command} of {checkup.target}"]
    if checkup.date:
        parts.append(checkup.date)
    if checkup.commit:
        parts.append(f"commit {checkup.commit[:COMMIT]}" + (" and changes" if checkup.dirty else ""))
    return ", ".join([*parts, f"nndoctor {checkup.version}"])


def _changes(comparison: Comparison, width: int) -> Iterator[Text]:
    from rich.text import Text

    from nndoctor.report.prose import hanging

    changes = [(word, _of_found(found)) for word, found in _found(comparison)]
    changes += [(move.verdict, _of_move(move)) for move in _ordered(comparison.moves)]
    for word, sentence in changes:
        yield from hanging(Text(word, STYLES[word]), WORD, sentence, width)
    if changes:
        yield Text()
