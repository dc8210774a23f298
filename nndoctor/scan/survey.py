"""Which files concern the doctor, and which belong together: a tree is examined in parts, each run as one program.

What a function is called with is told by its callers, so files that import each other are one part, also where only
a file that was not asked for connects them. Which parts there are depends on nothing but the files.
"""

# Paths are strings here: thousands are made and compared, and pathlib's objects cost ten times as much.
# ruff: noqa: PTH100

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nndoctor.requests import ScanRequest
from nndoctor.scan.disk import Disk
from nndoctor.scan.project import INIT, Project

# The largest training projects have 16,000 lines that belong together. What has more is a library, and is taken apart:
# a part then needs 150 MB of memory at most, and a change costs no more than its part.
MAX_LINES = 20_000

# `from x import y, z` and `import x, y`. A file of which this misses an import goes to another part, and is followed
# from here as any file that was not asked for.
_IMPORT = re.compile(
    rb"[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import\b[ \t]*(\([^)]*|[^\n#;\\]*)|import[ \t]+([^\n#;\\]*))"
)
_KEYWORD = b"import"
_BEFORE = 200  # bytes at most between the beginning of a line and that keyword
_NAME = re.compile(rb"[A-Za-z_][\w.]*")

# What a file must name to be worth a parse: torch, or a library that trains with it ("torch" covers pytorch_lightning).
NEIGHBOURS = (
    b"torch", b"lightning", b"accelerate", b"transformers", b"timm", b"fastai", b"skorch", b"ignite", b"deepspeed",
    b"keras", b"tensorflow",
)  # fmt: skip


def mentions_torch(data: bytes) -> bool:
    """Whether a file can concern the doctor at all; asked of the raw bytes, before anything is decoded or parsed."""
    return any(name in data for name in NEIGHBOURS)


@dataclass(frozen=True, slots=True)
class Part:
    """Files to run as one program, by absolute path, sorted."""

    files: tuple[str, ...]
    lines: int = 0


def survey(paths: Sequence[Path], request: ScanRequest, disk: Disk) -> tuple[Part, ...]:
    """The parts of those files that concern the doctor, in the order of their first files."""
    project = Project(request.root, disk)
    project.add_texts(request.texts)
    chart = _Chart(project, disk, {os.path.abspath(path): text.encode() for path, text in request.texts.items()})
    asked = list(map(str, paths))
    chart.explore(asked)
    groups: dict[str, list[str]] = {}
    for file in asked:
        if chart.concerns(file):
            groups.setdefault(chart.group(file), []).append(file)
    return tuple(part for group in groups.values() for part in _parted(group, chart.looks))


class _Look(NamedTuple):
    """What is told of a file without a parse."""

    mentions_torch: bool
    lines: int
    imports: tuple[tuple[int, str, tuple[str, ...]], ...] = ()  # dots, module, names from it


class _Chart:
    """The files that were looked at, what they import, and which of them hang together."""

    def __init__(self, project: Project, disk: Disk, texts: Mapping[str, bytes]) -> None:
        self.looks: dict[str, _Look] = {}
        self._project = project
        self._disk = disk
        self._texts = texts
        self._imported: dict[str, list[str]] = {}  # file to the files that it imports
        self._above: dict[str, str] = {}  # file to another of its group, none for the one that names the group

    def explore(self, asked: Sequence[str]) -> None:
        """Look at these files and at what they lead to: of other files, at no more lines than a run follows."""
        waiting, followed = list(asked), 0
        wanted = set(asked)
        for file in waiting:  # grows while it is walked through
            self._imported[file] = list(dict.fromkeys(self._targets(file)))
            for target in self._imported[file]:
                if target in wanted:
                    continue
                wanted.add(target)
                look = self._look(target)
                followed += look.lines
                if look.mentions_torch and followed <= MAX_LINES:
                    waiting.append(target)
        for file in filter(self.concerns, waiting):
            for target in filter(self.concerns, self._imported[file]):
                self._join(file, target)

    def concerns(self, file: str) -> bool:
        """Whether a file speaks of torch, or imports a file of the project that does; or cannot be read."""
        return self._look(file).mentions_torch or any(
            self._look(target).mentions_torch for target in self._imported.get(file, ())
        )

    def group(self, file: str) -> str:
        """The file that names the group of a file."""
        while file in self._above:
            file = self._above[file]
        return file

    def _join(self, file: str, other: str) -> None:
        first, second = self.group(file), self.group(other)
        if first != second:
            self._above[second] = first

    def _look(self, file: str) -> _Look:
        if file not in self.looks:
            try:
                data = self._texts[file] if file in self._texts else self._disk.read(file)
            except OSError:
                self.looks[file] = _Look(True, 0)  # the examination says why
            else:
                self.looks[file] = _Look(mentions_torch(data), _lines(file, data), tuple(_imports(_code(file, data))))
        return self.looks[file]

    def _targets(self, file: str) -> Iterator[str]:
        locate = self._project.locate
        for level, module, names in self._look(file).imports:
            found = locate(file, module, level)
            if found is not None:
                yield found
            if found is None or found.endswith(INIT):
                for name in names:
                    submodule = locate(file, f"{module}.{name}" if module else name, level)
                    if submodule is not None:
                        yield submodule
                    elif found is None:
                        break  # a folder without __init__.py has nothing but submodules


def _imports(data: bytes) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    at = data.find(_KEYWORD)
    while at >= 0:  # from word to word: to try the pattern on every line takes six times as long
        before = data.rfind(b"\n", max(0, at - _BEFORE), at)
        match = _IMPORT.match(data, before + 1) if before >= 0 or at < _BEFORE else None
        if match is not None and match[4] is None:
            yield len(match[1]), match[2].decode(), tuple(_names(match[3]))
        elif match is not None:
            yield from ((0, name, ()) for name in _names(match[4]))
        at = data.find(_KEYWORD, max(at + len(_KEYWORD), match.end() if match is not None else 0))


def _names(text: bytes) -> Iterator[str]:
    """The first word of each item of a list."""
    for item in text.split(b","):
        name = _NAME.search(item)
        if name is not None:
            yield name[0].decode()


def _code(file: str, data: bytes) -> bytes:
    """A file line by line; of a notebook, whatever its layout, each line of a string on a line of its own."""
    return data.replace(b"\\n", b"\n").replace(b'"', b"\n") if file.endswith(".ipynb") else data


def _lines(file: str, data: bytes) -> int:
    """How many lines of code a file has, or at most has: a notebook's outputs are counted with its code."""
    return data.count(b'\\n",' if file.endswith(".ipynb") else b"\n")


def _parted(group: Sequence[str], looks: Mapping[str, _Look]) -> Iterator[Part]:
    """The files of a group in as few parts as MAX_LINES allows, neighbours together."""
    files: list[str] = []
    lines = 0
    for file in group:
        if files and lines + looks[file].lines > MAX_LINES:
            yield Part(tuple(files), lines)
            files, lines = [], 0
        files.append(file)
        lines += looks[file].lines
    yield Part(tuple(files), lines)
