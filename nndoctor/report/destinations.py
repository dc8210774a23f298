"""Where each report goes: what the user wrote as FORMAT or FORMAT=FILE, and files that are replaced at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nndoctor.atomic import replace_bytes
from nndoctor.errors import UserError
from nndoctor.report.output import DEFAULT_FORMAT, FORMATS

SCRIPTS = (".py", ".ipynb")


@dataclass(frozen=True, slots=True)
class Destination:
    """A format and the file it goes to, or stdout."""

    format: str
    file: Path | None = None


def destinations(
    formats: Sequence[str] | None, output_file: Path | None, annotate: bool, log: Path | None = None
) -> tuple[Destination, ...]:
    """What --output-format and --output-file ask for; raises UserError, before any work, where it cannot be done.

    With `annotate`, annotations are printed besides, but only where no format was chosen. No report may take the
    place of the `log`.
    """
    chosen = [_parsed(text) for text in formats or (DEFAULT_FORMAT,)]
    unplaced = [destination.format for destination in chosen if destination.file is None]
    if len(unplaced) > 1:
        raise UserError(f"{' and '.join(unplaced)} cannot share one output: write --output-format {unplaced[-1]}=FILE")
    if output_file is not None:
        if not unplaced:
            raise UserError("--output-file is for the format that names no file, and every --output-format names one")
        chosen = [Destination(it.format, it.file or output_file) for it in chosen]
    files = [destination.file for destination in chosen]
    _check([file for file in (*files, log) if file is not None])
    return (*chosen, Destination("github")) if annotate and not formats else tuple(chosen)


def replace_file(file: Path, text: str) -> None:
    """Write the file at once: a reader sees the old one or the new one. Raises UserError where that is refused."""
    data = text.encode("utf-8", "replace")
    try:
        if file.exists() and not file.is_file():  # a device or a pipe, such as /dev/stderr
            file.write_bytes(data)
        else:
            replace_bytes(file.resolve(), data)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error


def _parsed(text: str) -> Destination:
    name, equals, file = text.partition("=")
    if name not in FORMATS:
        from nndoctor.selection import near

        raise UserError(f"there is no format {name!r}{near(name, FORMATS)}; the formats are {', '.join(FORMATS)}")
    if equals and not file:
        raise UserError(f"--output-format {text}: name the file after the =")
    return Destination(name, Path(file) if equals else None)


def _check(files: Sequence[Path]) -> None:
    for index, file in enumerate(files):
        if file.is_dir():
            raise UserError(f"{file} is a folder: name a file in it for the report")
        if not file.parent.is_dir():
            raise UserError(f"the folder {file.parent} of the report {file.name} does not exist: make it first")
        if file.suffix in SCRIPTS and file.exists():
            raise UserError(f"{file} is a script that the report would overwrite: name another file")
        if file.resolve() in [other.resolve() for other in files[:index]]:
            raise UserError(f"two reports cannot share one file: {file}")
