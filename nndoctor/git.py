"""Asking git about the user's repository, without starting anything of it and without changing it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# The settings of a repository can name a program that git starts to watch files; a scan runs nothing of the user's.
GIT = ("git", "-c", "core.fsmonitor=false")


def git(folder: Path, *arguments: str) -> bytes:
    """What git prints in that folder; raises FileNotFoundError without git, CalledProcessError where git refuses."""
    return subprocess.run(
        [*GIT, *arguments],
        cwd=folder,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    ).stdout
