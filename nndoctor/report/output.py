"""Writing a report to a stream in the format that was asked for, and the exit status that goes with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from nndoctor.findings import Failure, Finding, Report, Severity

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100  # of the full report where there is no terminal to ask

CLEAN, FINDINGS, COULD_NOT_RUN = 0, 1, 2


FORMATS = ("full", "concise", "json", "sarif", "github", "gitlab", "junit", "markdown", "html")
DEFAULT_FORMAT = "full"
READ_IN_A_LOG = ("full", "concise")


@dataclass(frozen=True, slots=True)
class Style:
    """How the user wants to see the report."""

    format: str = DEFAULT_FORMAT
    colour: str = "auto"  # or "always", "never"; only the full report is coloured
    statistics: bool = False  # instead of the full and the concise report; the other formats stay as they are


def write(report: Report, style: Style, stream: TextIO) -> None:
    """Write the report; in the log of a workflow, so that no line of it is a command."""
    from nndoctor.report.github import inert, on_actions

    text = _text(report, style, stream)
    stream.write(inert(text) if style.format in READ_IN_A_LOG and on_actions() else text)
    stream.flush()


def _text(report: Report, style: Style, stream: TextIO) -> str:
    if style.statistics and style.format in READ_IN_A_LOG:
        from nndoctor.report import concise

        return concise.statistics(report)
    if style.format == "full":
        from nndoctor.report import terminal

        console = make_console(stream, style.colour)
        with console.capture() as capture:
            terminal.render(report, console)
        return capture.get()
    render: Callable[[Report], str] = import_module(f"nndoctor.report.{style.format}").render
    return render(report)


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
