"""Where in the user's files something is written or went wrong, as opposed to library code around it."""

from __future__ import annotations

import inspect
import linecache
import site
import sysconfig
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from nndoctor.findings import Location


@cache
def _library_directories() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    named = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()}
    own = Path(__file__).resolve().parent.parent
    return (*(Path(name).resolve() for name in named), own)


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


def place_of_error(error: BaseException) -> Location | None:
    """The last line of the user's own code that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return location_of(error.filename, error.lineno or 1)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_file(frame.filename)]
    return location_of(frames[-1].filename, frames[-1].lineno or 1) if frames else None


def describe_error(error: BaseException) -> str:
    """One line: the exception's type and the first line of its message."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first_line = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


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
