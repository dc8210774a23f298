"""How a command ends: text on stdout, then the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn, TextIO

import typer

from nndoctor.cli.options import Colour, Format
from nndoctor.findings import Report, Severity
from nndoctor.report.output import Style, exit_status, write


def finish(
    report: Report,
    *,
    output_format: Format,
    color: Colour,
    statistics: bool,
    fail_on: Severity,
    exit_zero: bool,
) -> NoReturn:
    """Print the report, gravest findings first, and exit with its status."""
    report = replace(report, findings=tuple(sorted(report.findings, key=lambda finding: finding.order)))
    with stdout() as stream:
        write(report, Style(output_format, color, statistics), stream)
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
