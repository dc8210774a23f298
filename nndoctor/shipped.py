"""Where the files lie that are shipped with the code and are no Python."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """A file or folder in the installed package, or beside it in a source checkout."""
    package = Path(__file__).parent
    if (package / name).exists():
        return package / name
    if (package.parent / "pyproject.toml").is_file():
        return package.parent / name
    raise FileNotFoundError(f"{name} is missing; reinstall nndoctor")
