"""`nndoctor skill`: how an agent should use the doctor."""

from __future__ import annotations

from typing import Annotated

import typer

SKILL = ".agents/skills/nndoctor/SKILL.md"

OnlyPath = Annotated[bool, typer.Option("--path", help="Print where the file lies.")]


def skill(path: OnlyPath = False) -> None:
    """Print the skill for coding agents: when to run what, how to read it, what to do about it.

    \b
    mkdir -p .agents/skills/nndoctor
    nndoctor skill > .agents/skills/nndoctor/SKILL.md
    """
    from nndoctor.cli.finish import stdout
    from nndoctor.shipped import shipped

    file = shipped(SKILL)
    with stdout() as stream:
        stream.write(f"{file}\n" if path else file.read_text(encoding="utf-8"))
