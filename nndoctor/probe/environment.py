"""The environment of our own processes: the user's, in which this package is found whatever the directory."""

from __future__ import annotations

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """The user's environment, with this package behind whatever is on the Python path."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{package}" if path else package}
