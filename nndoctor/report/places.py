"""Where formats for other programs show a finding: they want a file and a line of it for each."""

from __future__ import annotations

from nndoctor.findings import Evidence, Finding, Location


def place_of(finding: Finding) -> Evidence:
    """What the finding says and where; without a line of its own, at the first step that has one."""
    own = Evidence(finding.message, finding.location, finding.source_line)
    if own.location is not None:
        return own
    step = next((step for step in finding.evidence if step.location is not None), own)
    return Evidence(finding.message, step.location, step.source_line)


def with_cell(location: Location | None, text: str) -> str:
    """The text, behind the cell where the place is in a notebook: the lines of its file are lines of JSON."""
    if location is None or location.cell is None:
        return text
    return f"cell {location.cell}, line {location.line}: {text}"
