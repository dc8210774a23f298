"""`nndoctor config`: which settings hold, and where each of them comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nndoctor.cli import options

Start = Annotated[Path, typer.Argument(metavar="PATH", exists=True, help="The file or folder they are to hold for.")]


def config(path: Start = Path(), config: options.Config = None, isolated: options.Isolated = False) -> None:
    """Show the settings that hold for a path, and where each comes from: default, file or command line.

    What is printed could be an nndoctor.toml.

    \b
    nndoctor config
    nndoctor config src/train.py
    nndoctor config --config 'fail-on="error"'
    """
    from nndoctor.cli.finish import stdout
    from nndoctor.config import entries
    from nndoctor.layers import read_layers
    from nndoctor.report import settings

    layers = read_layers(path, config or (), isolated)
    names = list(dict.fromkeys(layer.name for layer in reversed(layers)))
    described = f"settings for {path}: {', before '.join(names) if names else 'no file has any'}"
    with stdout() as stream:
        stream.write(settings.render(entries(layers), described))
