"""Settings: `[tool.nndoctor]` in pyproject.toml, and the command line over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from nndoctor.errors import UserError
from nndoctor.findings import Severity
from nndoctor.selection import near, resolve, split_selectors

EFFORTS = ("quick", "normal", "full")
SEVERITIES = tuple(severity.value for severity in Severity)
KEYS = (
    "select",
    "extend-select",
    "ignore",
    "exclude",
    "pedantic",
    "fail-on",
    "per-file-ignores",
    "minimum-torch",
    "probe",
)
PROBE_KEYS = ("device", "seed", "effort", "select")

Value = TypeVar("Value")


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
    per_file_ignores: Mapping[str, frozenset[str]] = field(default_factory=dict)
    minimum_torch: tuple[int, int] | None = None  # the oldest torch that the code must run with
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    base: Path | None = None  # where the patterns start: the directory of the file


def load_settings(start: Path, config: Path | None = None) -> Settings:
    """Settings of `config`, or of the nearest pyproject.toml at or above `start` that has a table for nndoctor."""
    if config is not None:
        table = _read_table(config)
        if table is None:
            raise UserError(f"{config}: there is no [tool.nndoctor] table in it")
        return _settings(table, config)
    start = start.resolve()
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (table := _read_table(path)) is not None:
            return _settings(table, path)
    return Settings()


def with_options(
    settings: Settings,
    *,
    select: Sequence[str] | None = None,
    extend_select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    pedantic: bool | None = None,
    fail_on: str | None = None,
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
    )


def _resolve_options(options: Sequence[str] | None, name: str) -> frozenset[str]:
    return resolve(split_selectors(options or ()), name)


def _read_table(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read it: {error}") from error
    if "nndoctor" not in text:
        return None
    import tomli

    try:
        tools = tomli.loads(text).get("tool", {})
    except tomli.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    table = tools.get("nndoctor") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UserError(f"{path}: tool.nndoctor must be a table")
    return table


def _settings(table: dict[str, Any], path: Path) -> Settings:
    section = _Section(table, f"{path}: [tool.nndoctor]")
    section.refuse_keys_outside(KEYS)
    select = section.codes("select")
    added = section.codes("extend-select") or frozenset()
    ignores = section.section("per-file-ignores")
    return Settings(
        select=None if select is None else select | added,
        ignore=section.codes("ignore") or frozenset(),
        exclude=tuple(section.strings("exclude") or ()),
        pedantic=section.value("pedantic", bool, "true or false") or False,
        fail_on=Severity(section.choice("fail-on", SEVERITIES) or Severity.WARNING),
        per_file_ignores={pattern: ignores.codes(pattern) or frozenset() for pattern in ignores.table},
        minimum_torch=section.version("minimum-torch"),
        probe=_probe_settings(section.section("probe")),
        base=path.resolve().parent,
    )


def _probe_settings(section: _Section) -> ProbeSettings:
    section.refuse_keys_outside(PROBE_KEYS)
    default = ProbeSettings()
    return ProbeSettings(
        device=section.value("device", str, 'a string such as "cuda"') or default.device,
        seed=section.value("seed", int, "an integer") or default.seed,
        effort=section.choice("effort", EFFORTS) or default.effort,
        select=section.codes("select"),
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """One TOML table and how to call it in a complaint."""

    table: Mapping[str, Any]
    where: str

    def refuse_keys_outside(self, known: Sequence[str]) -> None:
        for key in self.table:
            if key not in known:
                raise UserError(f"{self.where} has no key {key!r}{near(key, known)}")

    def value(self, key: str, kind: type[Value], wanted: str) -> Value | None:
        value = self.table.get(key)
        # type(), because True is an int to isinstance
        if value is not None and type(value) is not kind:
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        wanted = f"one of {', '.join(choices)}"
        value = self.value(key, str, wanted)
        if value is not None and value not in choices:
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return value

    def version(self, key: str) -> tuple[int, int] | None:
        wanted = 'a version such as "2.4"'
        value = self.value(key, str, wanted)
        if value is None:
            return None
        major, _, rest = value.partition(".")
        minor = rest.partition(".")[0] or "0"
        if not (major.isdecimal() and minor.isdecimal()):
            raise UserError(f"{self.where}: {key} must be {wanted}")
        return int(major), int(minor)

    def strings(self, key: str) -> list[str] | None:
        values = self.value(key, list, "a list of strings")
        if values is not None and not all(isinstance(value, str) for value in values):
            raise UserError(f"{self.where}: {key} must be a list of strings")
        return values

    def codes(self, key: str) -> frozenset[str] | None:
        selectors = self.strings(key)
        return None if selectors is None else resolve(selectors, f"{self.where}: {key}")

    def section(self, key: str) -> _Section:
        table = self.value(key, dict, "a table") or {}
        return _Section(table, f"{self.where.removesuffix(']')}.{key}]")
