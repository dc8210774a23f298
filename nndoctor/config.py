"""Settings: `[tool.nndoctor]` of pyproject.toml or an nndoctor.toml, and the command line over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from nndoctor.errors import UserError
from nndoctor.findings import Severity
from nndoctor.layers import OPTION, Layer, read_layers
from nndoctor.selection import near, resolve, split_selectors

EFFORTS = ("quick", "normal", "full")
SEVERITIES = tuple(severity.value for severity in Severity)
PROBE, PER_FILE, THRESHOLDS = "probe", "per-file-ignores", "thresholds"

Value = TypeVar("Value")
Key = tuple[str, ...]  # the tables that hold it, and its name


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """`[tool.nndoctor.probe]`."""

    device: str = "cpu"
    seed: int = 0
    effort: str = "normal"
    select: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """`[tool.nndoctor]`; rule sets hold codes, and no `select` means every rule."""

    select: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    pedantic: bool = False
    fail_on: Severity = Severity.WARNING
    baseline: Path | None = None  # the file of old findings
    per_file_ignores: Mapping[str, frozenset[str]] = field(default_factory=dict)
    minimum_torch: tuple[int, int] | None = None  # the oldest torch that the code must run with
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    thresholds: Mapping[str, float] = field(default_factory=dict)  # those that were moved, by CODE.NAME
    base: Path | None = None  # where the patterns start: the directory of the file


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting that somebody made."""

    value: Any  # as the doctor uses it
    written: Any  # as TOML has it
    origin: str  # the file, or the option


def load_settings(start: Path, config: Sequence[str] | None = None, isolated: bool = False) -> Settings:
    """Settings of the nearest file at or above `start`, or of the one in `config`, and of its KEY=VALUE."""
    return _settings(read_layers(start, config or (), isolated))


def entries(layers: Sequence[Layer]) -> dict[Key, Entry]:
    """Every setting that the layers make, of those made twice the stronger; raises UserError for a wrong one."""
    return {key: entry for layer in layers for key, entry in _entries(layer)}


def with_options(
    settings: Settings,
    *,
    select: Sequence[str] | None = None,
    extend_select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    pedantic: bool | None = None,
    fail_on: str | None = None,
    baseline: Path | None = None,
) -> Settings:
    """The command line over the file: `select` replaces what the file selects and ignores, lists add to its lists."""
    if select:
        settings = replace(settings, select=_resolve_options(select, "--select"), ignore=frozenset())
    added = _resolve_options(extend_select, "--extend-select")
    return replace(
        settings,
        select=None if settings.select is None else settings.select | added,
        ignore=settings.ignore | _resolve_options(ignore, "--ignore"),
        exclude=(*settings.exclude, *(exclude or ())),
        pedantic=settings.pedantic if pedantic is None else pedantic,
        fail_on=Severity(fail_on or settings.fail_on),
        baseline=baseline or settings.baseline,
    )


def _resolve_options(options: Sequence[str] | None, name: str) -> frozenset[str]:
    return resolve(split_selectors(options or ()), name)


def field_of(key: str) -> str:
    """What the setting is called in Settings or ProbeSettings."""
    return key.replace("-", "_")


def _settings(layers: Sequence[Layer]) -> Settings:
    made = {key: entry.value for key, entry in entries(layers).items()}
    base = next((layer.folder for layer in reversed(layers) if layer.name != OPTION), None)
    select, added = made.pop(("select",), None), made.pop(("extend-select",), frozenset())
    fields = {field_of(key[-1]): value for key, value in made.items() if len(key) == 1}
    return Settings(
        select=None if select is None else select | added,
        per_file_ignores={key[1]: codes for key, codes in made.items() if key[0] == PER_FILE},
        probe=ProbeSettings(**{field_of(key[1]): value for key, value in made.items() if key[0] == PROBE}),
        thresholds={f"{key[1]}.{key[2]}": value for key, value in made.items() if key[0] == THRESHOLDS},
        base=base,
        **fields,
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """One TOML table of a layer, and how to call it in a complaint."""

    table: Mapping[str, Any]
    layer: Layer
    header: str

    @property
    def where(self) -> str:
        return f"{self.layer.name}: [{self.header}]" if self.header else self.layer.name

    def refuse_keys_outside(self, known: Sequence[str]) -> None:
        for key in self.table:
            if key == "tool" and not self.header:
                raise UserError(f"{self.where}: the keys of [tool.nndoctor] stand at the top here, without a header")
            if key not in known:
                raise UserError(f"{self.where} has no key {key!r}{near(key, known)}")

    def value(self, key: str, kind: type[Value], wanted: str) -> Value:
        value = self.table[key]
        # type(), because True is an int to isinstance
        if type(value) is not kind:
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        wanted = f"one of {', '.join(choices)}"
        value = self.value(key, str, wanted)
        if value not in choices:
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def whole(self, key: str) -> int:
        wanted = "a whole number above 0"
        value = self.value(key, int, wanted)
        if value <= 0:
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def number(self, key: str) -> float:
        wanted = "a number above 0"
        value = float(self.table[key]) if type(self.table[key]) is int else self.value(key, float, wanted)
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def version(self, key: str) -> tuple[int, int]:
        wanted = 'a version such as "2.4"'
        major, _, rest = self.value(key, str, wanted).partition(".")
        minor = rest.partition(".")[0] or "0"
        if not (major.isdecimal() and minor.isdecimal()):
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return int(major), int(minor)

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.value(key, list, "a list of strings")
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"{self.where}: {key} must be a list of strings")
        return tuple(values)

    def codes(self, key: str) -> frozenset[str]:
        return resolve(self.strings(key), f"{self.where}: {key}")

    def path(self, key: str) -> Path:
        return self.layer.folder / Path(self.value(key, str, "the path of a file")).expanduser()

    def section(self, key: str) -> _Section:
        header = f"{self.header}.{key}" if self.header else key
        return _Section(self.value(key, dict, "a table"), self.layer, header)


Reader = Callable[[_Section, str], Any]
KEYS: Mapping[str, Reader] = {
    "select": _Section.codes,
    "extend-select": _Section.codes,
    "ignore": _Section.codes,
    "exclude": _Section.strings,
    "pedantic": lambda section, key: section.value(key, bool, "true or false"),
    "fail-on": lambda section, key: Severity(section.choice(key, SEVERITIES)),
    "baseline": _Section.path,
    "minimum-torch": _Section.version,
}
PROBE_KEYS: Mapping[str, Reader] = {
    "device": lambda section, key: section.value(key, str, 'a string such as "cuda"'),
    "seed": lambda section, key: section.value(key, int, "an integer"),
    "effort": lambda section, key: section.choice(key, EFFORTS),
    "select": _Section.codes,
}


def _entries(layer: Layer) -> Iterator[tuple[Key, Entry]]:
    section = _Section(layer.table, layer, layer.header)
    section.refuse_keys_outside((*KEYS, "extend", PER_FILE, PROBE, THRESHOLDS))
    yield from _read(section, (), {key: KEYS[key] for key in layer.table if key in KEYS})
    if PER_FILE in layer.table:
        ignores = section.section(PER_FILE)
        yield from _read(ignores, (PER_FILE,), dict.fromkeys(ignores.table, _Section.codes))
    if PROBE in layer.table:
        probe = section.section(PROBE)
        probe.refuse_keys_outside(tuple(PROBE_KEYS))
        yield from _read(probe, (PROBE,), {key: PROBE_KEYS[key] for key in probe.table})
    if THRESHOLDS in layer.table:
        yield from _thresholds(section.section(THRESHOLDS))


def _thresholds(section: _Section) -> Iterator[tuple[Key, Entry]]:
    from nndoctor.thresholds import known, thresholds_of

    section.refuse_keys_outside(tuple(dict.fromkeys(it.code for it in known().values())))
    for code in section.table:
        numbers = section.section(code)
        kinds = {it.name: type(it.default) for it in thresholds_of(code)}
        numbers.refuse_keys_outside(tuple(kinds))
        readers = {name: _Section.whole if kinds[name] is int else _Section.number for name in numbers.table}
        yield from _read(numbers, (THRESHOLDS, code), readers)


def _read(section: _Section, tables: Key, readers: Mapping[str, Reader]) -> Iterator[tuple[Key, Entry]]:
    for key, reader in readers.items():
        yield (*tables, key), Entry(reader(section, key), section.table[key], section.layer.name)
