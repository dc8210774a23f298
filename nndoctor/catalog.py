"""The catalogue: one TOML file a rule, read only when that rule is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nndoctor.findings import Severity
from nndoctor.shipped import shipped


@dataclass(frozen=True, slots=True)
class Example:
    """A script that must (`bad`) or must not (`good`) give the finding.

    In `code`, a comment `# <- ND101` marks each line on which the finding has its primary location. `files` holds
    further files of the same project by relative path, marked in the same way.
    """

    title: str
    code: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the doctor knows about one kind of bug."""

    code: str
    name: str
    passes: str  # "static" or "dynamic"
    severity: Severity
    summary: str
    why: str
    treatment: str
    source: str
    bad: tuple[Example, ...]
    good: tuple[Example, ...]


def rules_directory() -> Path:
    """Where the catalogue lies."""
    return shipped("rules")


@cache
def rule_files() -> dict[str, Path]:
    """Code to file, sorted by code; a file is called CODE-name.toml."""
    folder = rules_directory()
    names = sorted(os.listdir(folder))  # noqa: PTH208 - a glob takes five times as long
    return {name.partition("-")[0]: folder / name for name in names if name.startswith("ND")}


def rule_names() -> dict[str, str]:
    """Code to name, without opening a file."""
    return {code: path.stem.partition("-")[2] for code, path in rule_files().items()}


@cache
def load_rule(code: str) -> Rule:
    """Read one rule of the catalogue; raises KeyError for an unknown code."""
    import tomli

    table = tomli.loads(rule_files()[code].read_text(encoding="utf-8"))
    return Rule(
        code=table["code"],
        name=table["name"],
        passes=table["pass"],
        severity=Severity(table["severity"]),
        summary=table["summary"],
        why=table["why"].strip(),
        treatment=table["treatment"].strip(),
        source=table["source"],
        bad=tuple(_example(entry) for entry in table.get("bad", [])),
        good=tuple(_example(entry) for entry in table.get("good", [])),
    )


def load_rules() -> list[Rule]:
    """Every rule, in the order of the codes."""
    return [load_rule(code) for code in rule_files()]


def _example(entry: dict[str, Any]) -> Example:
    return Example(title=entry["title"], code=entry["code"], files=dict(entry.get("files", {})))
