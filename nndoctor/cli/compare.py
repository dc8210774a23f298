"""`nndoctor compare`: what got better or worse between two check-ups."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nndoctor.cli import options

Format = Literal["full", "concise", "json"]

Before = Annotated[
    str,
    typer.Argument(
        metavar="BEFORE",
        help="A log of --log (its last line), a line of it as FILE:3 or FILE:-2, or a report of --output-format json.",
    ),
]
After = Annotated[
    str | None,
    typer.Argument(
        metavar="[AFTER]", help="Another; without it, the last two check-ups of the log BEFORE that have one target."
    ),
]
OutputFormat = Annotated[Format, typer.Option(help="Form of the report.")]


def compare(
    before: Before, after: After = None, *, output_format: OutputFormat = "full", color: options.Color = "auto"
) -> None:
    """Say what got better or worse between two check-ups.

    Exit status: 0 nothing got worse, 1 something did, 2 they cannot be compared.

    \b
    nndoctor scan src --log history.jsonl
    nndoctor compare history.jsonl
    nndoctor compare history.jsonl:1 history.jsonl
    nndoctor compare main.json branch.json --output-format concise
    """
    from nndoctor.cli.finish import stdout
    from nndoctor.history.checkups import read_pair
    from nndoctor.history.comparison import compare as compared
    from nndoctor.report import comparisons
    from nndoctor.report.output import CLEAN, FINDINGS, make_console

    comparison = compared(*read_pair(before, after))
    with stdout() as stream:
        if output_format == "full":
            comparisons.render(comparison, make_console(stream, color))
        else:
            stream.write((comparisons.to_json if output_format == "json" else comparisons.concise)(comparison))
    raise typer.Exit(FINDINGS if comparison.worse else CLEAN)
