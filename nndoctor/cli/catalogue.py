"""`nndoctor explain` and `nndoctor rules`: the catalogue in words."""

from __future__ import annotations

from typing import Annotated

import typer

from nndoctor.cli import options

Rules = Annotated[
    list[str],
    typer.Argument(metavar="RULES...", help="Codes or names, also with commas.", autocompletion=options.rules_like),
]
Form = Annotated[options.ListForm, typer.Option("--format", help="text has a line for each rule.")]


def explain(rules: Rules, color: options.Color = "auto") -> None:
    """Say what a rule finds, why it matters and how to treat it, with an example that is found and one that is not.

    \b
    nndoctor explain ND101
    nndoctor explain softmax-into-cross-entropy ND201
    """
    from nndoctor.catalog import load_rule
    from nndoctor.cli.finish import stdout
    from nndoctor.report import pages
    from nndoctor.report.output import make_console
    from nndoctor.selection import resolve_one, split_selectors

    codes = dict.fromkeys(resolve_one(selector) for selector in split_selectors(rules))
    with stdout() as stream:
        console = make_console(stream, color)
        for number, code in enumerate(codes):
            if number:
                console.print()
            pages.render(load_rule(code), console)


def rules(form: Form = "text") -> None:
    """List every rule.

    \b
    nndoctor rules
    nndoctor rules --format json
    nndoctor rules --format markdown > catalogue.md
    """
    from nndoctor.catalog import load_rules
    from nndoctor.cli.finish import stdout
    from nndoctor.report import catalogue

    render = {"text": catalogue.text, "json": catalogue.json_list, "markdown": catalogue.markdown}[form]
    with stdout() as stream:
        stream.write(render(load_rules()))
