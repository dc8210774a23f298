"""The options that commands share.

Nothing here or in a command's signature imports the rest of nndoctor: the help and the version need none of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

Severity = Literal["error", "warning", "info"]
Format = Literal["full", "concise", "json", "sarif", "github", "gitlab", "junit", "markdown", "html"]
Colour = Literal["auto", "always", "never"]
Effort = Literal["quick", "normal", "full"]
ListForm = Literal["text", "json", "markdown"]


def rules_like(incomplete: str) -> list[tuple[str, str]]:
    """What the shell offers to complete the last of several rules: codes with their names, or names."""
    from nndoctor.catalog import rule_names

    before, comma, word = incomplete.rpartition(",")
    offers = [(code, name) for code, name in rule_names().items() if code.startswith(word.upper())]
    offers += [(name, code) for code, name in rule_names().items() if word and name.startswith(word.lower())]
    return [(before + comma + offer, about) for offer, about in offers]


Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES",
        help="Only these rules: codes, prefixes or names, with commas.",
        autocompletion=rules_like,
    ),
]
ExtendSelect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES", help="These rules besides the ones that the file selects.", autocompletion=rules_like
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES",
        help="Not these rules: codes, prefixes or names, with commas.",
        autocompletion=rules_like,
    ),
]
OutputFormat = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FORMAT[=FILE]",
        help=f"Form of the report: {', '.join(get_args(Format))}; full by default. Several at once if all but one name "
        "a file: --output-format full --output-format sarif=report.sarif. On GitHub Actions, the default adds "
        "annotations.",
        autocompletion=lambda: list(get_args(Format)),
    ),
]
OutputFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write there, not to stdout, the format that names no file.")
]
Log = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Append this check-up to a log, a line of JSON; see `compare`.")
]
Color = Annotated[
    Colour, typer.Option(help="Colour in the full report; auto asks NO_COLOR, FORCE_COLOR and the terminal.")
]
FailOn = Annotated[
    Severity | None, typer.Option(help="Findings this grave or graver give exit status 1; warning by default.")
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 where findings alone would give 1.")]
Statistics = Annotated[bool, typer.Option("--statistics", help="Show how often each rule found something, no more.")]
Config = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|KEY=VALUE",
        help="Read the settings from this TOML file, or make one of them, in TOML: --config 'probe.effort=\"quick\"'.",
    ),
]
Isolated = Annotated[bool, typer.Option("--isolated", help="Read no file of settings.")]
