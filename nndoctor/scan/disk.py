"""The disk as one run sees it: folders listed once, and notes of what was asked, so that a cache can ask again."""

# Paths are strings here: thousands are made and compared, and pathlib's objects cost ten times as much.
# ruff: noqa: PTH110, PTH118, PTH208

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

# A folder with one of these is where a project starts, and so on the path of its programs.
ROOT_MARKS = frozenset({".git", "pyproject.toml", "setup.py", "setup.cfg"})


def read_file(path: str | Path) -> bytes:
    """The content of a file; raises OSError, also for a pipe or a device, of which a read might never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "it is no file")
    return Path(path).read_bytes()


def digest(data: bytes) -> str:
    """Names the content of a file; equal only for equal content."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


@dataclass(slots=True)
class Asked:
    """What an examination asked of the disk, and the answers: with the same answers it comes out the same."""

    contents: dict[str, str] = field(default_factory=dict)  # file to the digest of what was read; "" if it was refused
    names: dict[str, dict[str, bool]] = field(default_factory=dict)  # folder to a name in it, to whether it is there
    size: int = 0  # bytes that were read


class Disk:
    """What folders hold and files read like, each asked for once."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._marks: dict[str, bool] = {}
        self._digests: dict[str, str] = {}

    def holds(self, folder: str, name: str) -> bool:
        """Whether a folder holds that name, in that case.

        Marks of a project are asked for one by one: folders above it may be large, and not ours to list.
        """
        if name in ROOT_MARKS:
            path = os.path.join(folder, name)
            if path not in self._marks:
                self._marks[path] = os.path.exists(path)
            return self._marks[path]
        if folder not in self._names:
            self._names[folder] = _names(folder)
        return name in self._names[folder]

    def read(self, path: str) -> bytes:
        """The content of a file; raises OSError."""
        self._digests[path] = ""
        data = read_file(path)
        self._digests[path] = digest(data)
        return data

    def digest(self, path: str) -> str:
        """The digest of a file's content; empty if it is no file, or cannot be read."""
        if path not in self._digests:
            self._digests[path] = ""
            with suppress(OSError, ValueError):
                self.read(path)
        return self._digests[path]


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (OSError, ValueError):  # ValueError: a NUL in what a program builds its path from
        return frozenset()
