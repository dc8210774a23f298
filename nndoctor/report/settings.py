"""The settings that hold, as TOML that could be a file of settings, with where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nndoctor.config import KEYS, PER_FILE, PROBE, PROBE_KEYS, THRESHOLDS, Entry, Key, Settings, field_of
from nndoctor.findings import Severity
from nndoctor.report.text import printable
from nndoctor.thresholds import Threshold, known

DEFAULT = "default"
MAX_COLUMN = 56  # of the remark behind a value; a longer line pushes its own remark on
ALL_RULES = ["ND"]


def render(made: Mapping[Key, Entry], described: str) -> str:
    """A table after the other, each setting on its line; `described` says what they are for and where they stand."""
    default = Settings()
    top = [_line(made, (key,), default) for key in KEYS]
    probe = [_line(made, (PROBE, key), default.probe) for key in PROBE_KEYS]
    ignores = [_line(made, key, None) for key in made if key[0] == PER_FILE]
    thresholds = [_threshold(made, it) for it in known().values()]
    sections = [("", top), (PER_FILE, ignores), (PROBE, probe), (THRESHOLDS, thresholds)]
    return f"# {printable(described)}\n" + "".join(
        "\n" + "".join(f"{line}\n" for line in _section(header, rows)) for header, rows in sections if rows
    )


def _section(header: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if header:
        yield f"[{header}]"
    column = max((len(text) for text, _ in rows if len(text) < MAX_COLUMN), default=0)
    for text, origin in rows:
        yield f"{text:<{column}}  # {printable(origin)}"


def _line(made: Mapping[Key, Entry], key: Key, default: object) -> tuple[str, str]:
    """The setting, and its origin; one that has no value stands in a comment."""
    name = key[-1] if key[0] != PER_FILE else _toml(key[-1])
    if key in made:
        return f"{name} = {_toml(made[key].written)}", made[key].origin
    value = getattr(default, field_of(key[-1]), ())
    if key[-1] == "select" and value is None:
        value = ALL_RULES
    return (f"# {name}", f"{DEFAULT}: none") if value is None else (f"{name} = {_toml(value)}", DEFAULT)


def _threshold(made: Mapping[Key, Entry], threshold: Threshold[Any]) -> tuple[str, str]:
    entry = made.get((THRESHOLDS, threshold.code, threshold.name))
    value, origin = (threshold.default, DEFAULT) if entry is None else (entry.value, entry.origin)
    return f"{threshold.key} = {value}", origin


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Severity():
            return _toml(value.value)
        case str():
            return json.dumps(value, ensure_ascii=not value.isprintable())
        case list() | tuple() | frozenset():
            return f"[{', '.join(map(_toml, value))}]"
    return str(value)
