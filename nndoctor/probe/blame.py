"""Where in the user's files something is written or went wrong, as opposed to library code around it."""

from __future__ import annotations

import inspect
import linecache
import re
import site
import sysconfig
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from nndoctor.findings import Location

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')

REFUSED_MEMORY = re.compile(r"can't allocate memory: you tried to allocate (?P<bytes>\d+) bytes")


@cache
def _library_directories() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    named = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()}
    own = Path(__file__).resolve().parent.parent
    return (*(Path(name).resolve() for name in named), own)


@cache  # asked of every frame and of every module there is
def is_user_file(filename: str) -> bool:
    """Whether a file is neither the library's nor ours; generated code (`<string>`) is nobody's."""
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    return not any(path.is_relative_to(directory) for directory in _library_directories())


def location_of(filename: str, line: int) -> Location:
    """The place relative to the working directory where it lies below it."""
    path = Path(filename).resolve()
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return Location(path.as_posix(), line)


def source_line(filename: str, line: int) -> str | None:
    """The text of a line, None if the file cannot be read."""
    return linecache.getline(filename, line).rstrip("\n") or None


def frames_in(trace: str) -> list[tuple[str, int]]:
    """File and line of the user's own frames in a formatted stack, in its order."""
    frames = ((frame["file"], int(frame["line"])) for frame in FRAME.finditer(trace))
    return [(file, line) for file, line in frames if is_user_file(file)]


def place_of_error(error: BaseException) -> Location | None:
    """The last line of the user's own code that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return location_of(error.filename, error.lineno or 1)
    stack = traceback.extract_tb(error.__traceback__)
    frames = [(frame.filename, frame.lineno or 1) for frame in stack if is_user_file(frame.filename)]
    frames += frames_in(_trace_of_worker(error))
    return location_of(*frames[-1]) if frames else None


def raised_at(error: BaseException) -> str:
    """` at train.py:3`, to follow the word that says what failed; empty for an error outside the user's code."""
    place = place_of_error(error)
    return f" at {place.path}:{place.line}" if place else ""


def describe_error(error: BaseException) -> str:
    """One line: the exception's type and the first line of its message."""
    if trace := _trace_of_worker(error):
        return next(line for line in reversed(trace.splitlines()) if line.strip())
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    if refused := REFUSED_MEMORY.search(text):
        return f"not enough memory: {int(refused['bytes']) / 1e9:.3g} GB were asked for at once"
    first_line = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _trace_of_worker(error: BaseException) -> str:
    """The stack in the other process, which torch writes into the message of what a worker raised; else empty."""
    head, _, trace = str(error).partition("Original Traceback (most recent call last):")
    return trace if head.strip("'\"").startswith("Caught ") else ""


def place_of_definition(*candidates: Any) -> tuple[Location, str | None] | None:
    """Where the first of the classes or functions that the user wrote begins, with the text of that line."""
    for candidate in candidates:
        try:
            filename = inspect.getsourcefile(candidate)
            line = inspect.getsourcelines(candidate)[1]
        except (TypeError, OSError):
            continue
        if filename and is_user_file(filename):
            return location_of(filename, max(line, 1)), source_line(filename, max(line, 1))
    return None
