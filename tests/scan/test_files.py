"""Which files a user means by a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nndoctor.errors import UserError
from nndoctor.scan.files import EXCLUDED_FOLDERS, discover


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(root: Path, *files: str, **contents: str) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    for name, content in contents.items():
        (root / name).write_text(content, encoding="utf-8")


def ignore(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("\n".join(lines), encoding="utf-8")


def found(root: Path, *paths: str, exclude: tuple[str, ...] = (), force_exclude: bool = False) -> list[str]:
    """What is discovered, relative to the root."""
    files = discover([Path(path) for path in paths or (".",)], root, exclude, force_exclude)
    return [file.relative_to(root).as_posix() for file in files]


def test_a_folder_is_walked_for_scripts_and_notebooks(root: Path) -> None:
    tree(root, "b.py", "a.ipynb", "sub/deep/c.py", "readme.md", "stub.pyi", "x.pyc", "data.csv")
    assert found(root) == ["a.ipynb", "b.py", "sub/deep/c.py"]
    assert found(root, "sub") == ["sub/deep/c.py"]


def test_paths_are_sorted_and_come_once(root: Path) -> None:
    tree(root, "b.py", "a.py", "sub/c.py")
    assert found(root, "sub/c.py", "b.py", ".", "./sub/../a.py") == ["a.py", "b.py", "sub/c.py"]


def test_a_given_file_is_taken_whatever_it_is_called(root: Path) -> None:
    tree(root, "train", "build/x.py", "a.py")
    ignore(root, "a.py")
    assert found(root, "train", "build/x.py", "a.py", exclude=("a.py",)) == ["a.py", "build/x.py", "train"]


def test_what_does_not_exist_is_a_user_error(root: Path) -> None:
    with pytest.raises(UserError, match=r"^gone\.py: no such file or folder$"):
        discover([Path("gone.py")], root)


@pytest.mark.parametrize("folder", sorted(EXCLUDED_FOLDERS))
def test_folders_that_hold_no_project_code_are_passed_over(root: Path, folder: str) -> None:
    tree(root, f"{folder}/x.py", f"sub/{folder}/x.py", "a.py")
    assert found(root) == ["a.py"]
    assert found(root, folder) == [f"{folder}/x.py"]


def test_a_virtual_environment_by_another_name_is_passed_over(root: Path) -> None:
    tree(root, "env/pyvenv.cfg", "env/lib/x.py", "envs/cartpole.py")
    assert found(root) == ["envs/cartpole.py"]


def test_gitignore_is_honoured_in_every_folder(root: Path) -> None:
    tree(root, "a.py", "old_a.py", "sub/old_b.py", "sub/keep/old_c.py", "runs/x.py", "sub/runs/y.py", "sub/b.py")
    ignore(root, "# kept apart", "old_*.py", "/runs/", "")
    ignore(root / "sub" / "keep", "!old_*.py")
    assert found(root) == ["a.py", "sub/b.py", "sub/keep/old_c.py", "sub/runs/y.py"]


def test_gitignore_of_the_repository_above_is_honoured(root: Path) -> None:
    tree(root, ".git/HEAD", "sub/a.py", "sub/old.py", "other/x.py")
    ignore(root, "old.py", "other/")
    assert found(root, "sub") == ["sub/a.py"]
    assert found(root, "other") == ["other/x.py"], "the user has named it"


def test_what_one_clone_ignores_is_honoured_and_weaker_than_gitignore(root: Path) -> None:
    tree(root, ".git/info/exclude", "a.py", "old.py", "sub/a.py", "sub/old.py")
    (root / ".git" / "info" / "exclude").write_text("# mine\n\nold.py\na.py\n", encoding="utf-8")
    ignore(root, "!a.py")
    assert found(root) == ["a.py", "sub/a.py"]
    assert found(root, "sub") == ["sub/a.py"]


def test_gitignore_above_means_nothing_outside_a_repository(root: Path) -> None:
    tree(root, "sub/old.py")
    ignore(root, "old.py")
    assert found(root, "sub") == ["sub/old.py"]


def test_a_broken_line_of_gitignore_costs_one_line(root: Path) -> None:
    tree(root, "a.py", "b.py")
    (root / ".gitignore").write_bytes(b"!\n\xff\xfe\nb.py\n")
    assert found(root) == ["a.py"]


def test_exclude_is_relative_to_the_root_and_stronger_than_gitignore(root: Path) -> None:
    tree(root, "a.py", "sub/a.py", "sub/b.py", "sub/old/c.py")
    ignore(root, "!sub/b.py")
    assert found(root, exclude=("/sub/b.py", "old")) == ["a.py", "sub/a.py"]
    assert found(root, "sub", exclude=("/a.py",)) == ["sub/a.py", "sub/b.py", "sub/old/c.py"]


def test_force_exclude_concerns_given_paths_too(root: Path) -> None:
    tree(root, "a.py", "sub/b.py", "venv/lib/x.py", "old/deep/c.py")
    given = ("a.py", "sub/b.py", "venv/lib/x.py", "old/deep/c.py", "old", "sub")
    assert found(root, *given, exclude=("old/", "a.py"), force_exclude=True) == ["sub/b.py"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links need a privilege on Windows")
def test_links_to_folders_are_not_followed_and_files_come_once(root: Path) -> None:
    tree(root, "a.py", "sub/b.py")
    (root / "sub" / "loop").symlink_to(root, target_is_directory=True)
    (root / "c.py").symlink_to(root / "sub" / "b.py")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    (root / "0.py").symlink_to(root / "a.py")
    assert found(root) == ["a.py", "sub/b.py"], "by their own names, in whatever order the disk has them"
    assert found(root, "0.py", "c.py", "c.py") == ["0.py", "c.py"]
    assert found(root, "sub/loop/a.py", "sub/loop") == ["sub/loop/a.py", "sub/loop/sub/b.py"]


def test_a_folder_called_like_a_script_is_walked(root: Path) -> None:
    tree(root, "tools.py/x.py")
    assert found(root) == ["tools.py/x.py"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_passed_over_on_a_walk_and_refused_by_name(root: Path) -> None:
    tree(root, "a.py")
    os.mkfifo(root / "pipe.py")
    assert found(root) == ["a.py"]
    with pytest.raises(UserError, match=r"^pipe\.py: neither a file nor a folder; send what it holds to"):
        found(root, "pipe.py")


def test_a_folder_that_cannot_be_read_is_passed_over_on_a_walk_and_refused_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(root, "a.py", "closed/b.py")
    scandir = os.scandir

    def refuse(path: str):
        if os.path.basename(path) == "closed":  # noqa: PTH119
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("nndoctor.scan.files.os.scandir", refuse)
    assert found(root) == ["a.py"]
    with pytest.raises(UserError, match=r"^closed: cannot read this folder: Permission denied$"):
        found(root, "closed")
