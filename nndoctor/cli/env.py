"""`nndoctor env`: what a bug report needs to say of where the doctor runs."""

from __future__ import annotations


def env() -> None:
    """Show the versions and the settings that a bug report should name; nothing is imported for it, torch least of all.

    \b
    nndoctor env
    """
    from nndoctor.cli.finish import stdout
    from nndoctor.report import environment

    with stdout() as stream:
        stream.write(environment.render())
