"""Small pieces of text that more than one reporter needs."""

from __future__ import annotations

import math
import re
import unicodedata

from nndoctor.findings import Figure, Location, Report, Severity

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CONTROL_PICTURES = 0x2400  # the Unicode block that shows each C0 control as one visible character
DELETE = 0x7F
CODE = re.compile(r"`[^`]+`")
MAX_TARGET = 60  # a hook names a hundred files
SHORT = 420  # characters of a rule's reasons that are shown with a finding
SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z`])")
# What a terminal obeys instead of showing: controls, directional overrides, lone surrogates, line separators.
UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with every control character made visible; tabs become blanks, and the length stays as it is."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def target_name(report: Report) -> str:
    """What was examined, cut where it is long."""
    target = printable(report.target)
    return target if len(target) <= MAX_TARGET else target[: MAX_TARGET - 1] + "…"


def plural(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def figure(value: Figure) -> str:
    """A measured value in at most four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `2 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(math.floor(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def tally(report: Report) -> str:
    """`2 errors, 1 warning`, or `no findings`."""
    counts = {
        "error": report.count(Severity.ERROR),
        "warning": report.count(Severity.WARNING),
        "hint": report.count(Severity.INFO),
        "failure": len(report.failures),
    }
    return ", ".join(plural(number, noun) for noun, number in counts.items() if number) or "no findings"


def opening(prose: str) -> str:
    """The first sentences, as many as are short together; `nndoctor explain` has the rest."""
    sentences = SENTENCE_END.split(" ".join(prose.split()))
    kept = sentences[0]
    for sentence in sentences[1:]:
        if len(kept) + len(sentence) >= SHORT:
            break
        kept += f" {sentence}"
    return kept


def span_in(line: str, location: Location) -> tuple[int, int]:
    """Start and end of the span within the line; the whole line where only the line is known."""
    first = len(line) - len(line.lstrip())
    start = min(max(location.column - 1, first), len(line))
    if location.end_column is None and location.column == 1:
        return start, len(line)
    if location.end_line not in (None, location.line):
        return start, len(line)
    return start, (location.end_column or location.column + 1) - 1


def _visible(character: str) -> str:
    if character == "\t":
        return " "
    if ord(character) < ord(" "):
        return chr(CONTROL_PICTURES + ord(character))
    if ord(character) == DELETE:
        return "\N{SYMBOL FOR DELETE}"
    return REPLACEMENT if unicodedata.category(character) in UNPRINTABLE else character
