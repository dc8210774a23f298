"""Check-ups as they are compared: read from a line of a log, or from a JSON report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nndoctor.errors import UserError
from nndoctor.findings import Figure

LINE = re.compile(r"(?P<file>.+):(?P<number>-?\d+)")
NOT_IN_JSON = {text: float(text) for text in ("nan", "inf", "-inf")}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of a check-up, or with an empty severity something that could not be examined."""

    code: str
    severity: str
    message: str
    place: str  # path, line and column; empty where there is none
    path: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What one probe measured in a check-up."""

    code: str
    name: str
    status: str
    measurements: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Checkup:
    """One check-up; `source` is how the user named it."""

    source: str
    command: str
    target: str
    version: str  # of nndoctor
    findings: tuple[Found, ...]
    failures: tuple[Found, ...]
    probes: tuple[Measured, ...]
    date: str | None = None
    commit: str | None = None
    dirty: bool = False


def read_pair(before: str, after: str | None) -> tuple[Checkup, Checkup]:
    """The check-ups to compare; of one log alone, its last one and the one before it of the same target.

    Raises UserError where there are none.
    """
    if after is not None:
        return read_checkup(before), read_checkup(after)
    file = Path(before)
    entries = _entries(file) if file.exists() or not LINE.fullmatch(before) else []
    last = _checkup(entries[-1], f"{before}:{len(entries)}") if entries else read_checkup(before)
    if len(entries) < 2:
        raise UserError(f"{before} is one check-up: name another one, or append it to the same file with --log")
    for number in range(len(entries) - 1, 0, -1):
        with suppress(UserError):  # what a killed run left of its line
            earlier = _checkup(entries[number - 1], f"{before}:{number}")
            if (earlier.command, earlier.target) == (last.command, last.target):
                return earlier, last
    raise UserError(f"{before} has no earlier `nndoctor {last.command}` of {last.target}: name two lines of it")


def read_checkup(named: str) -> Checkup:
    """The check-up that `FILE`, `FILE:N` or `FILE:-N` names: a JSON report, or a line of a log, by default the last."""
    match = LINE.fullmatch(named)
    if match is None or Path(named).exists():
        return _checkup(_entries(Path(named))[-1], named)
    entries = _entries(Path(match["file"]))
    number = int(match["number"])
    if not 1 <= abs(number) <= len(entries):
        raise UserError(f"{named}: {match['file']} has the lines 1 to {len(entries)}, and -1 is the last of them")
    return _checkup(entries[number - 1 if number > 0 else number], named)


def _entries(file: Path) -> list[str]:
    """The lines of a log, or the one document of a JSON report, which starts with a line of its own."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot read it: {getattr(error, 'strerror', None) or error}") from error
    return text.removesuffix("\n").split("\n") if text.startswith('{"') else [text]


def _checkup(text: str, source: str) -> Checkup:
    try:
        table = _Table(json.loads(text), source)
    except (ValueError, RecursionError):
        raise UserError(f"{source} is no check-up: write one with --log, or with --output-format json=FILE") from None
    summary = table.part("summary")
    git = table.part("git") if table.has("git") else None
    return Checkup(
        source=source,
        command=summary.value("command", str),
        target=summary.value("target", str),
        version=table.part("tool").value("version", str),
        findings=tuple(map(_finding, table.parts("findings"))),
        failures=tuple(map(_failure, table.parts("failures"))),
        probes=tuple(map(_probe, table.parts("probes"))),
        date=table.value("date", str) if table.has("date") else None,
        commit=git.value("commit", str) if git else None,
        dirty=git.value("dirty", bool) if git else False,
    )


def _finding(table: _Table) -> Found:
    return Found(
        code=table.value("code", str),
        severity=table.value("severity", str),
        message=table.value("message", str),
        place=_place(table),
        path=_path(table),
        fingerprint=table.value("fingerprint", str),
    )


def _failure(table: _Table) -> Found:
    code = table.value("code", str) if table.has("code") else ""
    message, path = table.value("message", str), _path(table)
    return Found(code, "", message, _place(table), path, fingerprint=f"{code} {path} {message}")


def _path(table: _Table) -> str | None:
    return table.value("path", str) if table.has("path") else None


def _place(table: _Table) -> str:
    path = _path(table)
    if path is None:
        return ""
    cell = f"cell {table.value('cell', int)}:" if table.has("cell") else ""
    return f"{path}:{cell}{table.value('line', int)}:{table.value('column', int)}"


def _probe(table: _Table) -> Measured:
    figures = table.part("measurements").content
    return Measured(
        code=table.value("code", str),
        name=table.value("name", str),
        status=table.value("status", str),
        measurements={name: _figure(value) for name, value in figures.items()},
    )


def _figure(value: Any) -> Figure:
    if isinstance(value, str):
        return NOT_IN_JSON.get(value, value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


class _Table:
    """An object of JSON that nndoctor wrote, as far as that can be told; whatever is missing is a UserError."""

    def __init__(self, content: Any, source: str) -> None:
        self.source = source
        self.content: dict[str, Any] = content if isinstance(content, dict) else self._refuse()

    def has(self, key: str) -> bool:
        return self.content.get(key) is not None

    def value(self, key: str, kind: type[Value]) -> Value:
        value = self.content.get(key)
        return value if type(value) is kind else self._refuse(key)

    def part(self, key: str) -> _Table:
        return _Table(self.content.get(key), self.source)

    def parts(self, key: str) -> list[_Table]:
        return [_Table(part, self.source) for part in self.value(key, list)]

    def _refuse(self, key: str = "") -> Any:
        what = f" without {key}" if key else ""
        raise UserError(f"{self.source} is no check-up of this nndoctor{what}: write it anew")
