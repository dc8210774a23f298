"""Annotations of GitHub Actions: workflow commands, which the runner reads from what a step prints."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from nndoctor.findings import Failure, Finding, Location, Report, Severity
from nndoctor.report.places import place_of, with_cell
from nndoctor.report.text import printable

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
PROPERTY = {**DATA, ":": "%3A", ",": "%2C"}
# What the runner takes for a command in a line of any program, whatever blanks or words stand before it.
COMMAND = re.compile(r"(?m)^([^\S\n]*:)(?=:)|(##)(?=\[)")


def on_actions() -> bool:
    """Whether a workflow of GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def inert(text: str) -> str:
    """The text with a blank in all that the runner would obey: a line of code that is shown must not command it."""
    return COMMAND.sub(lambda match: f"{match[1] or match[2]} ", text)


def render(report: Report) -> str:
    """A command for each finding and each failure, and one for all notes; empty if there are none."""
    lines = [_finding(finding) for finding in report.findings]
    lines += [_failure(failure) for failure in report.failures]
    lines += [_command("notice", None, f"nndoctor {report.command}", *report.notes)] if report.notes else []
    return "".join(f"{line}\n" for line in lines)


def _finding(finding: Finding) -> str:
    location = place_of(finding).location
    message = with_cell(location, finding.message)
    title = f"{finding.code} {finding.name}"
    return _command(LEVELS[finding.severity], location, title, message, finding.treatment)


def _failure(failure: Failure) -> str:
    title = f"{failure.code or 'nndoctor'} could not examine this"
    return _command("error", failure.location, title, with_cell(failure.location, failure.message))


def _command(level: str, location: Location | None, title: str, *paragraphs: str) -> str:
    properties = {**_span(location), "title": printable(title)}
    written = ",".join(f"{name}={_escaped(value, PROPERTY)}" for name, value in properties.items())
    message = "\n".join(printable(" ".join(paragraph.split())) for paragraph in paragraphs if paragraph.strip())
    return f"::{level} {written}::{_escaped(message, DATA)}"


def _span(location: Location | None) -> dict[str, str]:
    if location is None:
        return {}
    file = {"file": printable(_from_checkout(location.path))}
    if location.cell is not None:
        return file
    span = {"line": location.line, "endLine": location.end_line or location.line}
    if span["line"] == span["endLine"]:  # GitHub takes no columns for more than one line
        # its columns count from 1, and the last one still belongs to the span
        end = max((location.end_column or location.column + 1) - 1, location.column)
        span |= {"col": location.column, "endColumn": end}
    return file | {name: str(value) for name, value in span.items()}


def _from_checkout(path: str) -> str:
    """The path as GitHub knows it: from the root of the checkout, where ours starts at the working directory."""
    root = os.environ.get("GITHUB_WORKSPACE")
    file = Path(path).absolute()
    return file.relative_to(root).as_posix() if root and file.is_relative_to(root) else path


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
