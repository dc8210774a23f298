"""Paragraphs for the terminal: wrapped, indented, labelled."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from nndoctor.report.text import CODE, printable

INDENT = 2
LABEL = 11  # cells of the column that says why, do, measured
MAX_WIDTH = 110  # longer lines of prose are hard to read, however wide the terminal is
MIN_WIDTH = 30  # of a paragraph, even where a long place leaves less


def indented(prose: str, indent: int, width: int) -> Iterator[Text]:
    """The lines of one paragraph, with what stands in backticks in another colour."""
    words = printable(" ".join(prose.split()))
    if not words:
        return
    limit = max(min(width, MAX_WIDTH) - indent, MIN_WIDTH)
    text = Text("\n".join(textwrap.wrap(words, limit, break_long_words=False, break_on_hyphens=False)))
    text.highlight_regex(CODE, "cyan")
    for line in text.split():
        yield Text(" " * indent).append(line)


def hanging(head: Text, column: int, prose: str, width: int) -> Iterator[Text]:
    """A paragraph that starts at a column, with `head` before its first line."""
    lines = list(indented(prose, column, width)) or [Text()]
    yield head.append(" " * (column - head.cell_len)).append(lines[0][column:])
    yield from lines[1:]


def labelled(label: str, prose: str, width: int) -> Iterator[Text]:
    """A paragraph behind a label, the shape of `why`, `do` and `measured`; nothing where there is no prose."""
    if prose.strip():
        yield from hanging(Text(" " * INDENT).append(label, "bold"), INDENT + LABEL, prose, width)


def justified(left: Text, right: str, width: int) -> Text:
    """One text at the left and one at the right of a line."""
    room = min(width, MAX_WIDTH) - left.cell_len - len(right)
    return left.append(" " * max(room, 2)).append(right, "dim")
