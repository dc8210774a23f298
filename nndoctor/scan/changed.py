"""Which files git says have changed: since a commit's branch point, in the working tree, or not yet tracked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from nndoctor.errors import UserError
from nndoctor.git import git


def changed_files(folder: Path, base_ref: str) -> frozenset[str]:
    """Real paths of the files that differ from the merge base of `base_ref` and HEAD, and of the untracked ones.

    Ignored and deleted files are none of them. Raises UserError without git, outside a repository, and for a `base_ref`
    that it does not know.
    """
    top = _top(folder)
    base = _merge_base(top, base_ref)
    changed = _git(top, "diff", "--name-only", "--no-renames", "--diff-filter=d", "-z", base, "--")
    untracked = _git(top, "ls-files", "--others", "--exclude-standard", "-z")
    names = [name for name in (changed + untracked).split(b"\0") if name]
    return frozenset(os.path.realpath(top / os.fsdecode(name)) for name in names)


def _top(folder: Path) -> Path:
    try:
        return Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\r\n")))
    except subprocess.CalledProcessError as error:
        reason = os.fsdecode(error.stderr).strip().splitlines()
        said = reason[0].removeprefix("fatal: ") if reason else "no reason given"
        raise UserError(f"--changed-only asks git what has changed, and git refuses in {folder}: {said}") from error


def _merge_base(top: Path, base_ref: str) -> str:
    """Where HEAD and the other branch parted; the commit itself where their histories have nothing in common."""
    try:
        commit = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base_ref}^{{commit}}")
    except subprocess.CalledProcessError as error:
        advice = "fetch it, or name another" if base_ref != "HEAD" else "commit something first"
        raise UserError(f"--base-ref: git knows no commit {base_ref!r} in this repository: {advice}") from error
    try:
        return _git(top, "merge-base", commit.decode().strip(), "HEAD").decode().strip()
    except subprocess.CalledProcessError:
        return commit.decode().strip()


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return git(folder, *arguments)
    except FileNotFoundError as error:
        raise UserError("--changed-only asks git what has changed, and there is no git here: install it") from error
