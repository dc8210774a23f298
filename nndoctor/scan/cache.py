"""The cache: what was said of a part of a tree, to be said again while all that it rests on is the same.

An entry is called after all that goes into an examination and is known beforehand: the files of the part, the
settings, Python, this program. It tells what else was read, and which names were looked for and were there or not.
"""

# Paths are strings here: thousands are made and compared, and pathlib's objects cost ten times as much.
# ruff: noqa: PTH108, PTH118

from __future__ import annotations

import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nndoctor import __version__
from nndoctor.catalog import rules_directory
from nndoctor.errors import UserError
from nndoctor.requests import ScanRequest
from nndoctor.scan.disk import Asked, Disk, digest
from nndoctor.scan.entries import Entry, decode, encode
from nndoctor.scan.survey import Part
from nndoctor.scan.verdict import Verdict

FOLDER = ".nndoctor_cache"

MAX_SIZE = 64 * 2**20  # of all entries together; an entry has some 5 KB
KEPT_SIZE = MAX_SIZE * 3 // 4  # after the oldest are gone, so that they need not go one by one
MAX_ENTRY = 8 * 2**20
FRESH = 24 * 3600  # seconds in which the use of an entry need not be noted again
LEFT_BEHIND = 3600  # seconds after which nobody writes any more on a file that was begun

SUFFIX = ".json"
NAME = re.compile(r"\.?[0-9a-f]{40}\.json(\.\w+)?")  # of an entry, and of one that is being written
# No link that leads out of the folder, no pipe to wait for; Windows has neither.
HOW_TO_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
IGNORED = "# Made by nndoctor; it can be removed at any time.\n*\n"
MARK = "CACHEDIR.TAG"  # by which backups know a cache
TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a cache, made by nndoctor.\n"

# What a request says of the files to look for, and how to go about it; everything else is a setting that tells.
NO_SETTINGS = frozenset(
    {"paths", "exclude", "force_exclude", "only", "stdin", "stdin_filename", "texts", "cache", "jobs"}
)


def default_folder(base: Path) -> Path | None:
    """Where the cache of a project lies; none if somebody made that name lead elsewhere."""
    folder = base / FOLDER
    return None if folder.is_symlink() else folder


def named_folder(folder: Path) -> Path:
    """The folder that the user wants for a cache; raises UserError for one that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--cache-dir {folder}: it is a file; name a folder")
    if _listed(folder) and b"nndoctor" not in (_read(str(folder / MARK)) or b""):
        raise UserError(f"--cache-dir {folder}: it holds other files than a cache; name a new or an empty folder")
    return folder


def open_cache(request: ScanRequest, disk: Disk) -> Cache | None:
    """The cache that a request wants; none if it wants none, or concerns a text that no file holds."""
    if request.cache is None or request.stdin is not None or request.texts:
        return None
    return Cache(request.cache, request, disk)


class Cache:
    """A folder of entries. What cannot be read is not there, what cannot be written is not kept."""

    def __init__(self, folder: Path, request: ScanRequest, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._circumstances = digest(_settings(request) + _program())
        self._writable = True

    def find(self, parts: Sequence[Part]) -> dict[Part, Verdict]:
        """The verdicts that still hold."""
        if not self._folder.is_dir():
            return {}
        found = ((part, self._entry(part)) for part in parts)
        return {part: entry[0] for part, entry in found if entry is not None and self._holds(entry[1])}

    def keep(self, part: Part, verdict: Verdict, asked: Asked) -> None:
        """Keep a verdict; not where the doctor failed, nor where a file changed meanwhile."""
        read = {file: asked.contents.get(file, "") for file in part.files}
        others = {file: content for file, content in asked.contents.items() if file not in read}
        unsure = any(failure.code is None for failure in verdict.failures) or "" in asked.contents.values()
        changed = any(content != self._disk.digest(file) for file, content in read.items())
        if self._writable and not unsure and not changed:
            data = encode((verdict, Asked(others, asked.names)))
            self._writable = len(data) > MAX_ENTRY or self._write(self._path(part), data)

    def prune(self) -> None:
        """Remove what was not used for longest where there is more than MAX_SIZE, and what a killed run left behind."""
        entries = []
        for item in _listed(self._folder):
            if NAME.fullmatch(item.name):
                with suppress(OSError):  # another run was faster, here and below
                    status = item.stat(follow_symlinks=False)
                    entries.append((status.st_mtime, status.st_size, item.path))
        size = sum(size for _, size, _ in entries)
        excess = size - KEPT_SIZE if size > MAX_SIZE else 0
        for changed, size, path in sorted(entries):
            if excess > 0 or (not path.endswith(SUFFIX) and time.time() - changed > LEFT_BEHIND):
                with suppress(OSError):
                    os.unlink(path)
                    excess -= size

    def _path(self, part: Part) -> str:
        known = [self._circumstances, *(f"{file}\n{self._disk.digest(file)}" for file in part.files)]
        return os.path.join(self._folder, digest("\n".join(known).encode(errors="surrogateescape")) + SUFFIX)

    def _entry(self, part: Part) -> Entry | None:
        data = _read(self._path(part))
        return decode(data) if data is not None else None

    def _holds(self, asked: Asked) -> bool:
        """Whether the disk would give the same answers."""
        names = ((folder, name, there) for folder, names in asked.names.items() for name, there in names.items())
        return all(self._disk.holds(folder, name) == there for folder, name, there in names) and all(
            content and self._disk.digest(file) == content for file, content in asked.contents.items()
        )

    def _write(self, path: str, data: bytes) -> bool:
        """Whether that was possible."""
        from nndoctor.atomic import replace_bytes

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, text in ((MARK, TAG), (".gitignore", IGNORED)):
                if not os.path.lexists(self._folder / name):
                    replace_bytes(self._folder / name, text.encode())
            replace_bytes(Path(path), data)
        except OSError:
            return False
        return True


def _settings(request: ScanRequest) -> bytes:
    """All settings; one that is new counts until somebody says that it does not."""
    values = {each.name: getattr(request, each.name) for each in fields(request) if each.name not in NO_SETTINGS}
    return json.dumps(values, default=_plain, sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _program() -> bytes:
    """What examines: this program, the parser, Python."""
    return b"\n".join((__version__.encode(), _own_code(), _parser(), sys.version.encode()))


def _own_code() -> bytes:
    """What tells this code and its rules from any other; a checkout changes without its version."""
    package = Path(__file__).parent.parent
    if rules_directory().parent == package:
        try:  # a wheel lists the digests of its files
            return (package.parent / f"nndoctor-{__version__}.dist-info" / "RECORD").read_bytes()
        except OSError:
            pass
    folders = [package, rules_directory(), *(Path(folder) for folder, _, _ in os.walk(package / "scan"))]
    return "\n".join(stamp for folder in folders for stamp in _stamps(folder)).encode()


def _stamps(folder: Path) -> Iterator[str]:
    """Name, size and time of the source files in a folder."""
    for item in sorted(_listed(folder), key=lambda item: item.name):
        if item.name.endswith((".py", ".toml")):
            status = item.stat()
            yield f"{item.name} {status.st_size} {status.st_mtime_ns}"


def _parser() -> bytes:
    """The version of libcst, which need not be imported for that."""
    spec = find_spec("libcst")
    try:
        return Path(spec.origin or "").with_name("_version.py").read_bytes() if spec else b""
    except OSError:
        return b""


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError:
        return []


def _read(path: str) -> bytes | None:
    """A file of the cache, which is then marked as used; none if it is no plain file of a plausible size."""
    try:
        handle = os.open(path, HOW_TO_READ)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY:
                return None
            data = os.read(handle, status.st_size)
        finally:
            os.close(handle)
        if time.time() - status.st_mtime > FRESH:
            os.utime(path)
    except OSError:
        return None
    return data
