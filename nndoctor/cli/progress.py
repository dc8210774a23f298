"""One line on a terminal that says what is being done now."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from nndoctor.report.text import printable

CLEAR_LINE = "\r\x1b[2K"


@contextmanager
def progress_line(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """A function that replaces the line; it does nothing where the stream is no terminal."""
    if not stream.isatty():
        yield lambda text: None
        return

    def show(text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        stream.write(CLEAR_LINE + printable(text)[:width])
        stream.flush()

    try:
        yield show
    finally:
        stream.write(CLEAR_LINE)
        stream.flush()
