"""How a rule is added: a function over the Program, registered under its codes, that yields Drafts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.program import Program
from nndoctor.scan.rules.repairs import Repair
from nndoctor.scan.values import Site


@dataclass(frozen=True, slots=True)
class Draft:
    """A finding before its sites are turned into positions; the catalogue supplies what is left out."""

    code: str
    site: Site
    message: str
    evidence: tuple[tuple[Site, str], ...] = ()
    confidence: Confidence = Confidence.CERTAIN
    severity: Severity | None = None
    treatment: str | None = None
    repair: Repair | None = None


Rule = Callable[[Program], Iterator[Draft]]
RULES: dict[Rule, tuple[str, ...]] = {}


def rule(*codes: str) -> Callable[[Rule], Rule]:
    """Register a function that yields findings of these codes."""

    def register(function: Rule) -> Rule:
        RULES[function] = codes
        return function

    return register


def codes() -> frozenset[str]:
    """Every code that some rule can report."""
    return frozenset(code for group in RULES.values() for code in group)
