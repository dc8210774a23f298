"""`nndoctor scan --changed-only --base-ref REF`: which files count as changed, and what git cannot tell."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SICK = "from torch import nn\nnorm = nn.BatchNorm1d(8, 0.8)\n"


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def write(*names: str, text: str = SICK) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


@pytest.fixture
def scanned(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `nndoctor scan --changed-only` in a repository on a branch: exit status, files with findings, stderr."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git("init", "-q", "-b", "main")
    write("old.py", "sub/old.py", "touched.py", "gone.py", text=SICK)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("checkout", "-q", "-b", "branch")

    def scan(*arguments: str, changed: bool = True) -> tuple[int | None, list[str], str]:
        options = ["--changed-only"] if changed else []
        status, out, err = run("scan", "--output-format", "concise", *options, *arguments)
        return status, [line.partition(":")[0] for line in out.splitlines()], err

    return scan


def test_changed_staged_and_untracked_files_are_scanned(scanned) -> None:
    assert scanned() == (0, [], "")
    write("touched.py", text=SICK + "# more\n")
    write("staged.py", "sub/näw file.py")
    write("ignored.py", "sub/.gitignore")
    Path(".gitignore").write_text("ignored.py\n", encoding="utf-8")
    Path("gone.py").unlink()
    git("add", "staged.py")
    assert scanned() == (1, ["staged.py", "sub/näw file.py", "touched.py"], "")
    assert scanned("sub") == (1, ["sub/näw file.py"], "")
    assert scanned("old.py", "touched.py") == (1, ["touched.py"], "")
    assert scanned("--exclude", "sub/", "--exclude", "staged.py") == (1, ["touched.py"], "")


def test_the_merge_base_is_what_counts(scanned) -> None:
    write("mine.py")
    git("add", ".")
    git("commit", "-q", "-m", "mine")
    git("checkout", "-q", "main")
    write("theirs.py")
    git("add", ".")
    git("commit", "-q", "-m", "theirs")
    git("checkout", "-q", "branch")
    assert scanned() == (0, [], "")
    assert scanned("--base-ref", "main") == (1, ["mine.py"], "")


def test_it_works_from_a_folder_below(scanned, monkeypatch: pytest.MonkeyPatch) -> None:
    write("touched.py", text=SICK + "# more\n")
    write("sub/new.py")
    monkeypatch.chdir("sub")
    assert scanned() == (1, ["new.py"], "")
    assert sorted(Path(name).name for name in scanned("..")[1]) == ["new.py", "touched.py"]


def test_a_file_that_git_renamed_is_the_new_one(scanned) -> None:
    git("mv", "old.py", "renamed.py")
    assert scanned() == (1, ["renamed.py"], "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--base-ref", "no-such-branch"], "git knows no commit 'no-such-branch' in this repository: fetch it"),
        (["--base-ref", "--all"], "git knows no commit '--all'"),
        (["-"], "--changed-only chooses among files: name paths in place of -"),
    ],
)
def test_what_git_cannot_tell_is_2(scanned, arguments: list[str], complaint: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    status, _, err = scanned(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert complaint in err


def test_a_base_alone_means_nothing(scanned) -> None:
    status, _, err = scanned("--base-ref", "main", changed=False)
    assert (status, "add --changed-only" in err) == (2, True)


def test_outside_a_repository_it_says_so(scanned, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / ".git")
    status, _, err = scanned()
    assert (status, err.count("\n")) == (2, 1)
    assert "--changed-only asks git what has changed, and git refuses in .: not a git repository" in err


def test_without_git_it_says_so(scanned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = scanned()
    assert (status, "there is no git here: install it" in err) == (2, True)
