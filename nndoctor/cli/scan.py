"""`nndoctor scan`: the static pass."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.cli import options
from nndoctor.cli import scan_options as own
from nndoctor.errors import UserError

if TYPE_CHECKING:
    from nndoctor.config import Settings
    from nndoctor.requests import ScanRequest

STDIN = Path("-")


def scan(
    *,
    paths: own.Paths = None,
    select: options.Select = None,
    extend_select: options.ExtendSelect = None,
    ignore: options.Ignore = None,
    pedantic: own.Pedantic = None,
    exclude: own.Exclude = None,
    force_exclude: own.ForceExclude = False,
    stdin_filename: own.StdinFilename = None,
    output_format: options.OutputFormat = None,
    output_file: options.OutputFile = None,
    log: options.Log = None,
    color: options.Color = "auto",
    statistics: options.Statistics = False,
    fail_on: options.FailOn = None,
    exit_zero: options.ExitZero = False,
    config: options.Config = None,
    isolated: options.Isolated = False,
    fix: own.Fix = False,
    unsafe_fixes: own.UnsafeFixes = False,
    diff: own.Diff = False,
    add_ignore: own.AddIgnore = False,
    baseline: own.BaselineFile = None,
    update_baseline: own.UpdateBaseline = False,
    changed_only: own.ChangedOnly = False,
    base_ref: own.BaseRef = None,
    jobs: own.Jobs = None,
    cache_dir: own.CacheDir = None,
    no_cache: own.NoCache = False,
) -> None:
    """Examine training scripts without running them.

    Exit status: 0 nothing to report, 1 findings, 2 something could not be examined.

    \b
    nndoctor scan train.py
    nndoctor scan src --select ND1,ND201 --output-format concise
    nndoctor scan src --output-format full --output-format sarif=report.sarif
    nndoctor scan train.py --diff
    nndoctor scan --changed-only --base-ref origin/main
    nndoctor scan --baseline old.json --update-baseline
    git show HEAD:train.py | nndoctor scan - --stdin-filename train.py
    """
    from nndoctor.cli.actions import Actions, examined
    from nndoctor.cli.finish import finish, wanted
    from nndoctor.config import load_settings, with_options

    outputs = wanted(output_format, output_file, statistics, log)
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
        baseline=baseline,
    )
    actions = Actions(fix, unsafe_fixes, diff, add_ignore, settings.baseline, update_baseline)
    actions.check(log is not None or any(output.file for output in outputs))
    request = _request(
        settings, named, stdin, stdin_filename, force_exclude, _changed(named, stdin, changed_only, base_ref)
    )
    cache = None if no_cache else _cache(cache_dir, settings.base or request.root)
    report = examined(replace(request, cache=cache, jobs=jobs or _cores()), actions)
    finish(
        report,
        outputs=outputs,
        color=color,
        statistics=statistics,
        fail_on=settings.fail_on,
        exit_zero=exit_zero,
        log=log,
    )


def _request(
    settings: Settings,
    paths: tuple[Path, ...],
    stdin: str | None,
    stdin_filename: str | None,
    force_exclude: bool,
    only: frozenset[str] | None,
) -> ScanRequest:
    from nndoctor.requests import ScanRequest
    from nndoctor.selection import of_pass

    return ScanRequest(
        paths=paths if stdin is None else (),
        root=Path.cwd(),
        select=of_pass(settings.select, probes=False),
        ignore=settings.ignore,
        pedantic=settings.pedantic,
        base=settings.base,
        exclude=settings.exclude,
        force_exclude=force_exclude,
        per_file_ignores=settings.per_file_ignores,
        minimum_torch=settings.minimum_torch,
        thresholds=settings.thresholds,
        only=only,
        stdin=stdin,
        stdin_filename=stdin_filename,
    )


def _cache(named: Path | None, base: Path) -> Path | None:
    from nndoctor.scan.cache import default_folder, named_folder

    return default_folder(base) if named is None else named_folder(named)


def _cores() -> int:
    """How many processes can work at the same time."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _changed(
    paths: tuple[Path, ...], stdin: str | None, changed_only: bool, base_ref: str | None
) -> frozenset[str] | None:
    """The real paths of the files that are to be examined; none means all."""
    if not changed_only:
        if base_ref is not None:
            raise UserError("--base-ref says what to compare with: add --changed-only")
        return None
    if stdin is not None:
        raise UserError("--changed-only chooses among files: name paths in place of -")
    from nndoctor.scan.changed import changed_files

    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    return changed_files(folder, base_ref or "HEAD")


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
