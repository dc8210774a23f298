"""Project: which file of the project an import means; folders are listed and files read when first asked for."""

# Paths are strings here: thousands are made and compared, and pathlib's objects cost ten times as much.
# ruff: noqa: PTH100, PTH118, PTH119, PTH120

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.scan.disk import ROOT_MARKS, Asked, Disk, digest, read_file

if TYPE_CHECKING:
    from nndoctor.scan.source import SourceFile

INIT = "__init__.py"

# Libraries that the analyser knows by their own names, even in their own repositories.
LIBRARIES = frozenset({"torch", "torchvision", "torchaudio", "numpy"})

# A project's own `test.py` or `code/` is far more often meant than the module of the standard library.
SHADOWABLE = frozenset({"code", "cmd", "profile", "symbol", "test", "token", "trace"})
STANDARD_LIBRARY = sys.stdlib_module_names - SHADOWABLE


class Project:
    """The files below one root, and of the repository around it what they import.

    An absolute import searches the importer's own folder, the folders that its own importer searches, each folder
    above that starts a project, and its `src`. A module of a package looks into its own folder last, as only a script's
    folder is certain to be on Python's path. Nothing outside the repository is ever found. `asked` notes all that the
    answers rest on.
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root = Path(os.path.abspath(root))
        self.asked = Asked()
        self._disk = disk or Disk()
        self._sources: dict[str, SourceFile] = {}
        self._new: dict[str, set[str]] = {}  # folder to what texts that were put in its place add to it
        self._marked: dict[str, bool] = {}  # folder to whether it starts a project
        self._tops: dict[str, str] = {}  # folder to the outermost folder of its repository
        self._searched: dict[str, tuple[str, ...]] = {}  # folder to the roots above it, and their `src`
        self._inherited: dict[str, list[str]] = {}  # folder to where those look who import from it
        self._packages: set[str] = set()  # folders that an import went through
        self._added: list[str] = []
        self._found: dict[tuple[str, str, int], str] = {}

    def source(self, path: Path) -> SourceFile:
        """The file at that path, read when it is first asked for."""
        key = os.path.abspath(path)
        if key not in self._sources:
            from nndoctor.scan.source import read_source

            self._sources[key] = read_source(Path(key), self.root, self._read)
        return self._sources[key]

    def add(self, source: SourceFile) -> None:
        """Put a text in the place of the file at its path, which need not exist."""
        path = source.path
        self._sources[str(path)] = source
        self._found.clear()
        while path != path.parent and not self._holds(str(path.parent), path.name):
            self._new.setdefault(str(path.parent), set()).add(path.name)
            path = path.parent

    def add_texts(self, texts: Mapping[Path, str]) -> None:
        """Let these files read like that, whatever the disk says."""
        for path, text in texts.items():
            from nndoctor.scan.source import source_of

            self.add(source_of(path, self.root, text))

    def add_search_path(self, folder: Path) -> None:
        """Search that folder too, as after `sys.path.append`; one that is outside the repository is never found in."""
        added = os.path.abspath(folder)
        if added not in self._added:
            self._added.append(added)

    def resolve(self, importer: SourceFile, module: str, level: int) -> SourceFile | None:
        """The file that `module` means in that file, `level` dots before it; none if it is not the project's.

        For `from package import name` ask for `package.name` first: it may be a submodule.
        """
        found = self.locate(str(importer.path), module, level)
        return None if found is None else self.source(Path(found))

    def locate(self, importer: str, module: str, level: int) -> str | None:
        """The path of the file that `resolve` gives, which is not read."""
        key = (importer, module, level)
        found = self._found.get(key) or (
            self._relative(os.path.dirname(importer), module, level) if level else self._absolute(importer, module)
        )
        if found is not None:
            self._found[key] = found
        return found

    def _relative(self, folder: str, module: str, level: int) -> str | None:
        top = self._top(folder)
        for _ in range(level - 1):
            if folder == top:
                return None
            folder = os.path.dirname(folder)
        return self._find(folder, module.split(".") if module else [])

    def _absolute(self, importer: str, module: str) -> str | None:
        folder = os.path.dirname(importer)
        parts = module.split(".")
        if parts[0] in LIBRARIES or parts[0] in STANDARD_LIBRARY:
            return None
        top = self._top(folder)
        for base in (*self._search_path(folder), *_namesakes(folder, top, parts[0])):
            found = self._find(base, parts)
            if found not in (None, importer) and _is_inside(found, top):  # tools/timm.py wants the library timm
                self._remember(found, base, folder)
                return found
        return None

    def _search_path(self, folder: str) -> tuple[str, ...]:
        others = (*self._inherited.get(folder, ()), *self._roots(folder), *self._added)
        return (*others, folder) if self._is_package(folder) else (folder, *others)

    def _is_package(self, folder: str) -> bool:
        return folder in self._packages or self._holds(folder, INIT)

    def _roots(self, folder: str) -> tuple[str, ...]:
        if folder not in self._searched:
            top = self._top(folder)
            starts = (above for above in _upwards(folder, top) if above == top or self._starts_project(above))
            self._searched[folder] = tuple(root for start in starts for root in (start, os.path.join(start, "src")))
        return self._searched[folder]

    def _remember(self, found: str, base: str, importer: str) -> None:
        """What is imported searches what its importer does, beginning with where it was found itself."""
        folder = os.path.dirname(found)
        if folder != base:
            self._packages.add(folder)
        inherited = self._inherited.setdefault(folder, [])
        own = () if self._is_package(importer) else (importer,)
        for other in (base, *own, *self._inherited.get(importer, ())):
            if other != folder and other not in inherited:
                inherited.append(other)

    def _find(self, base: str, parts: list[str]) -> str | None:
        """The module below a folder; a package goes before a module of the same name."""
        for part in parts[:-1]:
            if not self._holds(base, part):
                return None
            base = os.path.join(base, part)
        if not parts:
            return os.path.join(base, INIT) if self._holds(base, INIT) else None
        name = parts[-1]
        if self._holds(base, name) and self._holds(os.path.join(base, name), INIT):
            return os.path.join(base, name, INIT)
        return os.path.join(base, f"{name}.py") if self._holds(base, f"{name}.py") else None

    def _holds(self, folder: str, name: str) -> bool:
        if name in self._new.get(folder, ()):
            return True
        there = self._disk.holds(folder, name)
        self.asked.names.setdefault(folder, {})[name] = there
        return there

    def _read(self, path: Path) -> bytes:
        self.asked.contents[str(path)] = ""
        data = read_file(path)
        self.asked.contents[str(path)] = digest(data)
        self.asked.size += len(data)
        return data

    def _top(self, folder: str) -> str:
        """Where to stop on the way up: the repository, else the root, else the outermost start of a project."""
        if folder not in self._tops:
            above = list(_upwards(folder))
            marked = [each for each in above if self._starts_project(each)]
            repository = [each for each in marked if self._holds(each, ".git")]
            root = [each for each in above if each == str(self.root)]
            self._tops[folder] = (repository[:1] or root or marked[-1:] or [folder])[0]
        return self._tops[folder]

    def _starts_project(self, folder: str) -> bool:
        if folder not in self._marked:
            self._marked[folder] = folder == str(self.root) or any(self._holds(folder, mark) for mark in ROOT_MARKS)
        return self._marked[folder]


def _upwards(folder: str, top: str | None = None) -> Iterator[str]:
    """The folder and those above it, the top included."""
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if folder in (top, parent):
            return
        folder = parent


def _namesakes(folder: str, top: str, package: str) -> Iterator[str]:
    """Where a package lies whose own folder, or one below it, is the importer's."""
    return (os.path.dirname(above) for above in _upwards(folder, top) if os.path.basename(above) == package)


def _is_inside(path: str, top: str) -> bool:
    return path.startswith(os.path.join(top, ""))
