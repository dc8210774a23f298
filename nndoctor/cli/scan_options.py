"""The options of `nndoctor scan` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", metavar="N", min=1, help="How many processes share the files; one a core by default."),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Remember there what was examined; by default .nndoctor_cache in the project."),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Examine every file again, and remember nothing.")]
AddIgnore = Annotated[
    bool, typer.Option("--add-ignore", help="Silence each finding by a comment on its line; with --diff, show them.")
]
BaselineFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Leave out the old findings that this file lists.")
]
UpdateBaseline = Annotated[
    bool, typer.Option("--update-baseline", help="Make the file list what is found now, and leave all of it out.")
]
ChangedOnly = Annotated[
    bool, typer.Option("--changed-only", help="Only files that git calls changed or untracked; see --base-ref.")
]
BaseRef = Annotated[
    str | None,
    typer.Option(metavar="REF", help="With --changed-only: changed since the branch left REF; HEAD by default."),
]
