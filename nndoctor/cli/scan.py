"""`nndoctor scan`: the static pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nndoctor.cli import options
from nndoctor.errors import UserError

if TYPE_CHECKING:
    from nndoctor.findings import Report
    from nndoctor.requests import ScanRequest

STDIN = Path("-")

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATHS...", exists=True, allow_dash=True, help="Files and directories, or - for stdin; . by default."
    ),
]
Pedantic = Annotated[
    bool | None, typer.Option("--pedantic/--no-pedantic", help="Also advice, and findings that are only possible.")
]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Leave out files that match, in the syntax of .gitignore.")
]
ForceExclude = Annotated[
    bool, typer.Option("--force-exclude", help="Leave excluded files out even where they are named one by one.")
]
StdinFilename = Annotated[
    str | None, typer.Option(metavar="FILE", help="What to call stdin in the report, and where its imports start.")
]
Fix = Annotated[bool, typer.Option("--fix", help="Make the fixes that cannot change what the code is meant to do.")]
UnsafeFixes = Annotated[
    bool, typer.Option("--unsafe-fixes", help="With --fix or --diff: also those that need a look afterwards.")
]
Diff = Annotated[bool, typer.Option("--diff", help="Show what --fix would change, and change nothing.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Examine every file again.")]


def scan(
    *,
    paths: Paths = None,
    select: options.Select = None,
    extend_select: options.ExtendSelect = None,
    ignore: options.Ignore = None,
    pedantic: Pedantic = None,
    exclude: Exclude = None,
    force_exclude: ForceExclude = False,
    stdin_filename: StdinFilename = None,
    output_format: options.OutputFormat = None,
    output_file: options.OutputFile = None,
    color: options.Color = "auto",
    statistics: options.Statistics = False,
    fail_on: options.FailOn = None,
    exit_zero: options.ExitZero = False,
    config: options.Config = None,
    isolated: options.Isolated = False,
    fix: Fix = False,
    unsafe_fixes: UnsafeFixes = False,
    diff: Diff = False,
    no_cache: NoCache = False,
) -> None:
    """Examine training scripts without running them.

    Exit status: 0 nothing to report, 1 findings, 2 something could not be examined.

    \b
    nndoctor scan train.py
    nndoctor scan src --select ND1,ND201 --output-format concise
    nndoctor scan src --output-format full --output-format sarif=report.sarif
    nndoctor scan train.py --diff
    git show HEAD:train.py | nndoctor scan - --stdin-filename train.py
    """
    from nndoctor.cli.finish import finish, wanted
    from nndoctor.config import load_settings, with_options
    from nndoctor.requests import ScanRequest
    from nndoctor.selection import of_pass

    outputs = wanted(output_format, output_file, statistics)
    named = tuple(paths or [Path()])
    stdin = _read_stdin(named, stdin_filename)
    settings = with_options(
        load_settings(named[0] if stdin is None else Path(stdin_filename or "."), config, isolated),
        select=select,
        extend_select=extend_select,
        ignore=ignore,
        exclude=exclude,
        pedantic=pedantic,
        fail_on=fail_on,
    )
    request = ScanRequest(
        paths=named if stdin is None else (),
        root=Path.cwd(),
        select=of_pass(settings.select, probes=False),
        ignore=settings.ignore,
        pedantic=settings.pedantic,
        base=settings.base,
        exclude=settings.exclude,
        force_exclude=force_exclude,
        per_file_ignores=settings.per_file_ignores,
        minimum_torch=settings.minimum_torch,
        stdin=stdin,
        stdin_filename=stdin_filename,
    )
    if diff and any(output.file for output in outputs):
        raise UserError("--diff shows what would change and writes no report: leave the file out")
    report = _examined(request, fix, unsafe_fixes, diff)
    finish(
        report,
        outputs=outputs,
        color=color,
        statistics=statistics,
        fail_on=settings.fail_on,
        exit_zero=exit_zero,
    )


def _examined(request: ScanRequest, fix: bool, unsafe_fixes: bool, diff: bool) -> Report:
    """The report on the files, or on what is left of it once they are fixed."""
    if unsafe_fixes and not (fix or diff):
        raise UserError("--unsafe-fixes says which fixes to make: add --fix or --diff")
    if fix or diff:
        from nndoctor.cli.fixes import treated

        return treated(request, unsafe_fixes, only_show=diff)
    from nndoctor.scan import engine

    return engine.scan(request)


def _read_stdin(paths: tuple[Path, ...], stdin_filename: str | None) -> str | None:
    """The text on stdin where `-` stands for it, else None."""
    if STDIN not in paths:
        if stdin_filename is not None:
            raise UserError("--stdin-filename names what comes from stdin: write - in place of the path")
        return None
    if len(paths) > 1:
        raise UserError("- stands for stdin and must be the only path")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not UTF-8: {error}") from error
