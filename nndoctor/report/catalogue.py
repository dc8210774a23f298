"""The catalogue as a whole: a line for each rule, JSON, and the Markdown tables of the README."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nndoctor.catalog import Rule

FORMS = ("text", "json", "markdown")
FAMILIES = {
    "ND0": "The doctor about itself",
    "ND1": "Losses and what is fed to them",
    "ND2": "The optimisation step",
    "ND3": "Modes and the graph",
    "ND4": "Architecture",
    "ND5": "Shapes",
    "ND6": "Data",
    "ND7": "Everything else",
    "NDP": "Probes: what `nndoctor probe` measures",
}
TABLE_HEAD = "| code | name | severity | what it finds |\n|---|---|---|---|"


def text(rules: Sequence[Rule]) -> str:
    """A line for each rule."""
    return "".join(f"{it.code:<6} {it.severity.value:<8} {it.name:<36} {it.summary}\n" for it in rules)


def json_list(rules: Sequence[Rule]) -> str:
    """A list with an object for each rule, without the examples."""
    rows = [
        {
            "code": rule.code,
            "name": rule.name,
            "pass": rule.passes,
            "severity": rule.severity.value,
            "summary": rule.summary,
            "why": rule.why,
            "treatment": rule.treatment,
            "source": rule.source,
        }
        for rule in rules
    ]
    return json.dumps(rows, indent=2) + "\n"


def markdown(rules: Sequence[Rule]) -> str:
    """A table for each family."""
    tables = []
    for family, title in FAMILIES.items():
        rows = [_row(rule) for rule in rules if rule.code.startswith(family)]
        if rows:
            tables.append("\n".join([f"### {title}", "", TABLE_HEAD, *rows]))
    return "\n\n".join(tables) + "\n"


def _row(rule: Rule) -> str:
    return f"| {rule.code} | {rule.name} | {rule.severity.value} | {rule.summary.replace('|', '&#124;')} |"
