"""`nndoctor explain` and `nndoctor rules`: the catalogue in words."""

from __future__ import annotations

from typing import Annotated

import typer

from nndoctor.cli import options


def explain(rule: Annotated[str, typer.Argument(help="A code or a name.")], color: options.Color = "auto") -> None:
    """Say what a rule finds, why it matters and how to treat it."""
    from nndoctor.catalog import load_rule
    from nndoctor.cli.finish import stdout
    from nndoctor.report import pages
    from nndoctor.report.output import make_console
    from nndoctor.selection import resolve_one

    page = load_rule(resolve_one(rule))
    with stdout() as stream:
        pages.render(page, make_console(stream, color))


def rules() -> None:
    """List every rule, a line each."""
    from nndoctor.catalog import load_rules
    from nndoctor.cli.finish import stdout
    from nndoctor.report.concise import rule_line

    with stdout() as stream:
        stream.writelines(f"{rule_line(rule)}\n" for rule in load_rules())
