"""Thresholds: the numbers at which a rule or a probe speaks up, each with its reason, and what the user set them to.

A module of rules or of a probe makes its own, as constants, so that number, reason and use stand together:
`TOO_HIGH = Threshold("ND214", "adam-too-high", 0.05, "why it is that number")`. What holds is `TOO_HIGH.value`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

Number = TypeVar("Number", int, float)

PLACES = ("scan/rules/*.py", "probe/**/*.py")  # the modules that make thresholds


@dataclass(frozen=True, slots=True)
class Threshold(Generic[Number]):
    """One number of the rule `code`; `nndoctor explain` shows it, and the setting `thresholds.CODE.NAME` moves it."""

    code: str
    name: str
    default: Number
    why: str

    @property
    def key(self) -> str:
        return f"{self.code}.{self.name}"

    @property
    def value(self) -> Number:
        """What holds in this process."""
        chosen = _chosen.get(self.key)
        return self.default if chosen is None else type(self.default)(chosen)


_chosen: dict[str, float] = {}


def choose(chosen: Mapping[str, float]) -> None:
    """Let these numbers hold, by `CODE.NAME`, and the defaults of all others; before rules or probes are run."""
    _chosen.clear()
    _chosen.update(chosen)


@cache
def known() -> Mapping[str, Threshold[Any]]:
    """Every threshold by `CODE.NAME`, sorted; read from the source, as the probes can be imported with torch only."""
    package = Path(__file__).parent
    files = (path for place in PLACES for path in package.glob(place))
    found = {it.key: it for path in files for it in _made_in(path.read_text(encoding="utf-8"))}
    return dict(sorted(found.items()))


def thresholds_of(code: str) -> list[Threshold[Any]]:
    """Those of one rule."""
    return [it for it in known().values() if it.code == code]


def _made_in(text: str) -> Iterator[Threshold[Any]]:
    if f"{Threshold.__name__}(" not in text:
        return
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(value=ast.Call(func=ast.Name(id=Threshold.__name__), args=arguments)):
                yield Threshold(*map(ast.literal_eval, arguments))
