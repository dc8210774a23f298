"""Where settings stand: the file that holds them, the files that it extends, and KEY=VALUE on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nndoctor.errors import UserError

OWN_FILES = (".nndoctor.toml", "nndoctor.toml")  # their keys stand at the top; both go before pyproject.toml
PYPROJECT = "pyproject.toml"
OPTION = "--config"


@dataclass(frozen=True, slots=True)
class Layer:
    """Some settings as they were written, and where."""

    table: Mapping[str, Any]
    name: str  # the file as a reader knows it, or the option
    header: str  # the table of the file that holds them; empty if they stand at its top
    folder: Path  # where relative paths start


def read_layers(start: Path, config: Sequence[str] = (), isolated: bool = False) -> tuple[Layer, ...]:
    """The settings that hold for `start`, the weakest first; raises UserError for what cannot be read.

    `config` holds files and KEY=VALUE, as --config takes them. A file is read in place of the nearest one at or above
    `start`; with `isolated` none is read.
    """
    files = [text for text in config if _is_file(text)]
    values = tuple(_option(text) for text in config if not _is_file(text))
    if len(files) > 1:
        raise UserError(f"{OPTION}: {' and '.join(files)}: name one file; it can extend the other")
    if isolated and files:
        raise UserError(f"--isolated reads no file, and {OPTION} names {files[0]}: leave one of them out")
    if isolated:
        return values
    layer = _named(Path(files[0])) if files else _nearest(start.resolve())
    return (*_with_extended(layer), *values) if layer is not None else values


def shown(path: Path) -> str:
    """The path as a reader of this folder would write it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _is_file(text: str) -> bool:
    return "=" not in text or Path(text).is_file()


def _option(text: str) -> Layer:
    """The settings of one KEY=VALUE."""
    import tomli

    try:
        table = tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError):
        key, _, value = text.partition("=")
        hint = f"{key.strip()}={_quoted(value.strip())}"
        raise UserError(f"{OPTION} {text}: not KEY=VALUE in TOML; write {OPTION} '{hint}', or a file") from None
    return Layer(table, OPTION, "", Path.cwd())


def _quoted(value: str) -> str:
    """What was most likely meant: a string, whose quotes the shell took away."""
    return '"' + value.strip("\"'") + '"'


def _named(path: Path) -> Layer:
    layer = _layer(path)
    if layer is None:
        raise UserError(f"{path}: there is no [tool.nndoctor] table in it")
    return layer


def _nearest(start: Path) -> Layer | None:
    for folder in (start, *start.parents):
        for name in (*OWN_FILES, PYPROJECT):
            path = folder / name
            if path.is_file() and (layer := _layer(path)) is not None:
                return layer
    return None


def _layer(path: Path) -> Layer | None:
    """The settings of a file; none if it has no table for nndoctor, which a file of its own does not need."""
    text = _text(path)
    if path.name == PYPROJECT and "nndoctor" not in text:
        return None  # most often, and then without the cost of a TOML parser
    import tomli

    try:
        document = tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{shown(path)}: not valid TOML: {error}") from error
    if path.name in OWN_FILES or (path.name != PYPROJECT and "tool" not in document):
        return Layer(document, shown(path), "", path.resolve().parent)
    tools = document.get("tool")
    table = tools.get("nndoctor") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UserError(f"{shown(path)}: tool.nndoctor must be a table")
    return None if table is None else Layer(table, shown(path), "tool.nndoctor", path.resolve().parent)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{shown(path)}: cannot read it: {error}") from error


def _with_extended(layer: Layer) -> tuple[Layer, ...]:
    """The layer behind those that it extends, directly or through others."""
    return tuple(reversed(list(_chain(layer))))


def _chain(layer: Layer) -> Iterator[Layer]:
    seen: list[str] = []
    while True:
        yield layer
        seen.append(layer.name)
        extended = layer.table.get("extend")
        if extended is None:
            return
        if not isinstance(extended, str) or not extended or "\0" in extended:
            raise UserError(f"{layer.name}: extend must be the path of a file")
        path = layer.folder / os.path.expanduser(extended)  # noqa: PTH111 - pathlib raises for a user who is not there
        if shown(path) in seen:
            circle = " extends ".join([*seen, shown(path)])
            raise UserError(f"{layer.name}: extend goes round in a circle: {circle}")
        if not path.is_file():
            raise UserError(f"{layer.name}: it extends {shown(path)}, and there is no such file")
        layer = _named(path)
