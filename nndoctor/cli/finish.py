"""How a command ends: reports on stdout and in files, then the exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TextIO

import typer

from nndoctor.cli.options import Colour
from nndoctor.findings import Report, Severity
from nndoctor.report.destinations import Destination, destinations, replace_file
from nndoctor.report.github import on_actions
from nndoctor.report.output import Style, exit_status, write


def wanted(
    output_format: list[str] | None, output_file: Path | None, statistics: bool, log: Path | None = None
) -> tuple[Destination, ...]:
    """Which reports to write where; asked before the work starts, so that a slip does not cost it."""
    return destinations(output_format, output_file, annotate=on_actions() and not statistics, log=log)


def finish(
    report: Report,
    *,
    outputs: Sequence[Destination],
    color: Colour,
    statistics: bool,
    fail_on: Severity,
    exit_zero: bool,
    log: Path | None = None,
) -> NoReturn:
    """Write the reports, gravest findings first, note the check-up in the log, and exit with the status."""
    report = replace(report, findings=tuple(sorted(report.findings, key=lambda finding: finding.order)))
    for output in outputs:
        if output.file is None:
            with stdout() as stream:
                write(report, Style(output.format, color, statistics), stream)
        else:
            text = io.StringIO()
            write(report, Style(output.format, "never" if color == "auto" else color, statistics), text)
            replace_file(output.file, text.getvalue())
    if log is not None:
        from nndoctor.history.log import append

        append(report, log)
    raise typer.Exit(exit_status(report, fail_on, exit_zero))


@contextmanager
def stdout() -> Iterator[TextIO]:
    """The standard output; a reader that stops early, such as `head`, changes nothing."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
