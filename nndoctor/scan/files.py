"""Which files the user means: paths on the command line, folders walked with their .gitignore honoured."""

# Paths are strings here: thousands are made and compared, and pathlib's objects cost ten times as much.
# ruff: noqa: PTH100, PTH110, PTH112, PTH113, PTH114, PTH118, PTH120, PTH206

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.errors import UserError
from nndoctor.scan.disk import read_file

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES = (".py", ".ipynb")

# Folders that hold no code of the project: what version control, environments, builds and tools put there.
EXCLUDED_FOLDERS = frozenset(
    {
        ".bzr", ".direnv", ".eggs", ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nndoctor_cache", ".nox",
        ".pytest_cache", ".ruff_cache", ".svn", ".tox", ".venv", ".vscode", "__pycache__", "__pypackages__", "_build",
        "build", "dist", "node_modules", "site-packages", "venv",
    }
)  # fmt: skip
OF_THE_CLONE = os.path.join(".git", "info", "exclude")  # what one user ignores, without telling the others
MAX_STARS = 4  # within one name of a pattern: a match takes time that grows with the name to the power of them
_MANY_STARS = re.compile(rf"(?:\*+[^*/]+){{{MAX_STARS}}}\*")
ENVIRONMENT_MARK = "pyvenv.cfg"  # a virtual environment by any other name


def discover(paths: Sequence[Path], root: Path, exclude: Sequence[str] = (), force_exclude: bool = False) -> list[Path]:
    """The `.py` and `.ipynb` files below the folders, and the given files whatever they are called; absolute, sorted.

    `exclude` holds patterns as in .gitignore, relative to `root`. They and the excluded folders concern what a walk
    finds, and with `force_exclude` also the given paths. Raises UserError for a path that does not exist or cannot be
    examined.
    """
    base = os.path.abspath(root)
    excluded = (_Patterns(base, compiled(exclude)),) if exclude else ()
    found: dict[str, str] = {}  # by real path, so that no file comes twice
    for path in paths:
        absolute = os.path.abspath(path)
        _check(absolute, path)
        if force_exclude and _is_excluded(absolute, base, excluded):
            continue
        for file in _walk(absolute, excluded) if os.path.isdir(absolute) else (absolute,):
            real = os.path.realpath(file)
            found[real] = min(file, found[real], key=_by_link) if real in found else file
    return [Path(file) for file in sorted(found.values())]


def _check(absolute: str, path: Path) -> None:
    """Refuse what would be passed over in silence: a pipe can be read only once, and a closed folder not at all."""
    if not os.path.exists(absolute):
        raise UserError(f"{path}: no such file or folder")
    if os.path.isdir(absolute):
        try:
            os.scandir(absolute).close()
        except OSError as error:
            raise UserError(f"{path}: cannot read this folder: {error.strerror or error}") from error
    elif not os.path.isfile(absolute):
        raise UserError(f"{path}: neither a file nor a folder; send what it holds to `nndoctor scan -`")


def _by_link(file: str) -> tuple[bool, str]:
    """Sort key: of the names of one file, its own goes before those of links, whatever order the disk has them in."""
    return (os.path.islink(file), file)


def reported_path(path: Path, root: Path) -> str:
    """How reports call a file: relative to the root, with forward slashes."""
    try:
        return path.relative_to(os.path.abspath(root)).as_posix()
    except ValueError:
        return path.as_posix()


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The lines of a .gitignore, and the folder that they start from."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str) -> bool | None:
        """Ignored, kept by a `!` pattern, or not mentioned; the path of a folder ends with a slash."""
        if not path.startswith(self.folder + os.sep):
            return None
        return self.spec.check_file(path[len(self.folder) + 1 :]).include


def _walk(top: str, excluded: tuple[_Patterns, ...]) -> Iterator[str]:
    """Follows links to files but not to folders, so that it ends."""
    waiting = [(top, _inherited(top))]
    while waiting:
        folder, ignored = waiting.pop()
        entries = _entries(folder)
        names = {entry.name for entry in entries}
        if ENVIRONMENT_MARK in names and folder != top:
            continue
        if ".gitignore" in names:
            ignored = (*ignored, *_read(folder))
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            path = entry.path + os.sep if is_folder else entry.path
            if entry.name in EXCLUDED_FOLDERS or not (is_folder or entry.name.endswith(SUFFIXES)):
                continue
            if _verdict(path, excluded) or _verdict(path, ignored):
                continue
            if is_folder:
                waiting.append((entry.path, ignored))
            elif _is_file(entry):
                yield entry.path


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # not ours to read, or gone meanwhile
        return []


def _verdict(path: str, patterns: tuple[_Patterns, ...]) -> bool:
    """The deepest .gitignore that mentions a path decides."""
    verdicts = (pattern.verdict(path) for pattern in reversed(patterns))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _is_excluded(path: str, base: str, excluded: tuple[_Patterns, ...]) -> bool:
    inside = path[len(base) :] if path.startswith(base + os.sep) else ""
    path = path + os.sep if os.path.isdir(path) else path
    return not EXCLUDED_FOLDERS.isdisjoint(inside.split(os.sep)) or _verdict(path, excluded)


def _inherited(top: str) -> tuple[_Patterns, ...]:
    """What the repository around a folder ignores; nothing if it ignores the folder, which the user has named."""
    found: list[_Patterns] = []
    folder = top
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return ()  # not in a repository
        folder = parent
        found += _read(folder)
    found += _read(folder, OF_THE_CLONE)
    patterns = tuple(reversed(found))
    return () if _verdict(top + os.sep, patterns) else patterns


def _read(folder: str, name: str = ".gitignore") -> list[_Patterns]:
    try:
        lines = read_file(os.path.join(folder, name)).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    patterns = [line for line in lines if line and not line.startswith("#") and not _MANY_STARS.search(line)]
    return [_Patterns(folder, compiled(patterns))] if patterns else []


def compiled(lines: Sequence[str]) -> GitIgnoreSpec:
    """As git does, without the lines that are no patterns; raises UserError for one that could take for ever."""
    from pathspec import GitIgnoreSpec

    endless = [line for line in lines if _MANY_STARS.search(line)]
    if endless:
        raise UserError(f"the pattern {endless[0]!r} has more than {MAX_STARS} * within one name: write fewer")
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:
        return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
