"""Writing a report to a stream in the format that was asked for, and the exit status that goes with it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from nndoctor.findings import Failure, Finding, Report, Severity

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100  # of the full report where there is no terminal to ask

CLEAN, FINDINGS, COULD_NOT_RUN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Style:
    """How the user wants to see the report."""

    format: str = "full"  # or "concise", "json"
    colour: str = "auto"  # or "always", "never"; only the full report is coloured
    statistics: bool = False


def write(report: Report, style: Style, stream: TextIO) -> None:
    """Write the report; JSON holds the statistics anyway."""
    if style.format == "json":
        from nndoctor.report import json

        stream.write(json.render(report))
    elif style.statistics or style.format == "concise":
        from nndoctor.report import concise

        stream.write(concise.statistics(report) if style.statistics else concise.render(report))
    else:
        from nndoctor.report import terminal

        terminal.render(report, make_console(stream, style.colour))
    stream.flush()


def exit_status(report: Report, fail_on: Severity, exit_zero: bool) -> int:
    """0 nothing to report, 1 findings at or above `fail_on`, 2 something could not be examined."""
    failed = any(not _is_notebook_cell(failure) for failure in report.failures)
    if failed or any(probe.status == "failed" for probe in report.probes):
        return COULD_NOT_RUN
    grave = (finding.severity.rank <= fail_on.rank and not _is_notebook_cell(finding) for finding in report.findings)
    return FINDINGS if any(grave) and not exit_zero else CLEAN


def make_console(stream: TextIO, colour: str) -> Console:
    """A rich console that prints what it is given: no markup, no emoji, no highlighting."""
    from rich.console import Console

    coloured = wants_colour(stream, colour)
    return Console(
        file=stream,
        force_terminal=coloured,
        no_color=not coloured,
        color_system="standard" if coloured else None,
        width=shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def wants_colour(stream: TextIO, colour: str) -> bool:
    """--color first, then FORCE_COLOR and NO_COLOR, then whether the stream is a terminal that knows colours."""
    if colour != "auto":
        return colour == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _is_notebook_cell(subject: Finding | Failure) -> bool:
    """An unreadable cell, often a fragment or another language, costs that cell and not the exit status."""
    return subject.code == "ND001" and subject.location is not None and subject.location.cell is not None
