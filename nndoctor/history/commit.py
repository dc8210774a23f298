"""Which commit of the user's repository a check-up examined, as git tells it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nndoctor.git import git


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that is checked out, and whether tracked files differ from it."""

    name: str  # forty hexadecimal digits, or more
    dirty: bool


def commit_of(folder: Path, log: Path) -> Commit | None:
    """The commit at a folder; changes of the log itself do not count. None where there is no git, or no commit."""
    try:
        top, name = os.fsdecode(git(folder, "rev-parse", "--show-toplevel", "HEAD")).splitlines()
        status = git(folder, "status", "--porcelain", "--untracked-files=no", "--no-renames", "-z")
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    changed = {Path(top, os.fsdecode(entry[3:])).resolve() for entry in status.split(b"\0") if entry}
    return Commit(name, dirty=bool(changed - {log.resolve()}))
