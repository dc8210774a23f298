"""Which file an import means."""

from __future__ import annotations

from pathlib import Path

import pytest

from nndoctor.scan import project as project_module
from nndoctor.scan.project import Project
from nndoctor.scan.source import source_from_text


def tree(root: Path, *files: str) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n", encoding="utf-8")


def meant(project: Project, importer: str, module: str, level: int = 0) -> str | None:
    """The file that the import means, relative to the root."""
    found = project.resolve(project.source(project.root / importer), module, level)
    return found.display if found else None


@pytest.mark.parametrize(
    ("importer", "module", "level", "expected"),
    [
        pytest.param("train.py", "model", 0, "model.py", id="beside the script"),
        pytest.param("train.py", "utils.data", 0, "utils/data.py", id="in a namespace package"),
        pytest.param("train.py", "nets", 0, "nets/__init__.py", id="a package"),
        pytest.param("train.py", "nets.resnet", 0, "nets/resnet.py", id="a submodule"),
        pytest.param("train.py", "nets.blocks", 0, "nets/blocks/__init__.py", id="a subpackage before a module"),
        pytest.param("train.py", "installed", 0, "src/installed/__init__.py", id="in src"),
        pytest.param("train.py", "utils", 0, None, id="a namespace package has no file"),
        pytest.param("train.py", "nets.missing", 0, None, id="what is not there"),
        pytest.param("train.py", "Model", 0, None, id="case counts"),
        pytest.param("train.py", "requests", 0, None, id="a library"),
        pytest.param("nets/blocks/conv.py", "", 1, "nets/blocks/__init__.py", id="from ."),
        pytest.param("nets/blocks/conv.py", "norm", 1, "nets/blocks/norm.py", id="from .norm"),
        pytest.param("nets/blocks/conv.py", "resnet", 2, "nets/resnet.py", id="from ..resnet"),
        pytest.param("nets/blocks/conv.py", "utils.data", 3, "utils/data.py", id="from ...utils.data"),
        pytest.param("nets/blocks/conv.py", "model", 4, None, id="beyond the root"),
        pytest.param("nets/__init__.py", "resnet", 1, "nets/resnet.py", id="a package's own submodule"),
        pytest.param("nets/blocks/conv.py", "nets.resnet", 0, "nets/resnet.py", id="absolute, from the root"),
        pytest.param("nets/blocks/conv.py", "model", 0, "model.py", id="the root goes before the package's folder"),
        pytest.param("nets/blocks/conv.py", "norm", 0, "nets/blocks/norm.py", id="the package's own folder at last"),
        pytest.param("examples/run.py", "helper", 0, "examples/helper.py", id="a script's folder goes first"),
        pytest.param("examples/run.py", "model", 0, "examples/model.py", id="before the root"),
        pytest.param("examples/helper.py", "helper", 0, None, id="a file is not what it imports"),
        pytest.param("train.py", "torch", 0, None, id="a file called torch.py is not torch"),
        pytest.param("train.py", "torch.nn", 0, None, id="nor is a part of it"),
        pytest.param("train.py", "logging", 0, None, id="nor the standard library"),
        pytest.param("train.py", "test", 0, "test.py", id="but test.py is the project's"),
    ],
)
def test_resolve(tmp_path: Path, importer: str, module: str, level: int, expected: str | None) -> None:
    tree(
        tmp_path, "train.py", "model.py", "utils/data.py", "src/installed/__init__.py", "torch.py", "logging.py",
        "test.py", "nets/__init__.py", "nets/resnet.py", "nets/blocks.py", "nets/blocks/__init__.py",
        "nets/blocks/conv.py", "nets/blocks/norm.py", "nets/blocks/model.py", "examples/run.py", "examples/helper.py",
        "examples/model.py",
    )  # fmt: skip
    assert meant(Project(tmp_path), importer, module, level) == expected


def test_a_script_decides_where_its_modules_look(tmp_path: Path) -> None:
    tree(tmp_path, "exp/train.py", "exp/utils/helper.py", "exp/model.py", "exp/utils/config.py", "exp/config.py")
    tree(tmp_path, "config.py")
    project = Project(tmp_path)
    assert meant(project, "exp/utils/helper.py", "model") is None
    assert meant(project, "exp/train.py", "utils.helper") == "exp/utils/helper.py"
    assert meant(project, "exp/utils/helper.py", "model") == "exp/model.py"
    assert meant(project, "exp/utils/helper.py", "config") == "exp/config.py"


@pytest.mark.parametrize("mark", ["pyproject.toml", "setup.py", "setup.cfg"])
def test_a_folder_that_starts_a_project_is_searched(tmp_path: Path, mark: str) -> None:
    tree(tmp_path, f"repo/{mark}", "repo/tools/deep/train.py", "repo/model.py", "repo/src/net.py", "beside.py")
    project = Project(tmp_path)
    assert meant(project, "repo/tools/deep/train.py", "model") == "repo/model.py"
    assert meant(project, "repo/tools/deep/train.py", "net") == "repo/src/net.py"


def test_a_repository_is_not_left(tmp_path: Path) -> None:
    tree(tmp_path, "one/.git/HEAD", "one/train.py", "model.py", "two/net.py")
    project = Project(tmp_path)
    project.add_search_path(tmp_path / "two")
    assert meant(project, "one/train.py", "model") is None
    assert meant(project, "one/train.py", "net") is None
    assert meant(project, "one/train.py", "model", 2) is None


def test_a_repository_around_the_root_is_searched(tmp_path: Path) -> None:
    tree(tmp_path, ".git/HEAD", "pyproject.toml", "model.py", "scripts/train.py")
    project = Project(tmp_path / "scripts")
    found = project.resolve(project.source(tmp_path / "scripts" / "train.py"), "model", 0)
    assert found is not None
    assert found.path == tmp_path / "model.py"


def test_a_package_finds_itself_without_a_mark(tmp_path: Path) -> None:
    tree(tmp_path, "code/vision/models/net.py", "code/vision/train.py", "code/vision/__init__.py")
    project = Project(tmp_path)
    assert meant(project, "code/vision/train.py", "vision.models.net") == "code/vision/models/net.py"


def test_search_paths_are_added(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", "third_party/lib/net.py")
    project = Project(tmp_path)
    assert meant(project, "train.py", "net") is None
    project.add_search_path(tmp_path / "third_party" / "lib")
    project.add_search_path(tmp_path / "nowhere\0")
    assert meant(project, "train.py", "net") == "third_party/lib/net.py"


def test_a_text_without_a_file_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "model.py", "train.py")
    project = Project(tmp_path)
    assert meant(project, "train.py", "nets.new") is None
    fresh, edited = source_from_text("x = 1\n", "nets/new.py"), source_from_text("y = 2\n", "model.py")
    project.add(fresh)
    project.add(edited)
    importer = project.source(tmp_path / "train.py")
    assert project.resolve(importer, "nets.new", 0) is fresh
    assert project.resolve(importer, "model", 0) is edited
    assert project.resolve(fresh, "model", 2) is edited


def test_files_are_read_once_and_folders_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "train.py", "model.py", "data.py")
    listed: list[str] = []
    real = project_module.os.listdir
    monkeypatch.setattr(project_module.os, "listdir", lambda folder: listed.append(folder) or real(folder))
    project = Project(tmp_path)
    importer = project.source(tmp_path / "train.py")
    assert importer is project.source(tmp_path / "." / "train.py")
    assert project.resolve(importer, "model", 0) is project.resolve(importer, "model", 0)
    assert project.resolve(importer, "data", 0) is project.source(tmp_path / "data.py")
    assert project.resolve(importer, "numpy", 0) is None
    assert project.resolve(importer, "einops", 0) is None
    assert len(listed) == len(set(listed))


def test_a_found_file_that_cannot_be_parsed_is_still_found(tmp_path: Path) -> None:
    tree(tmp_path, "train.py")
    (tmp_path / "model.py").write_bytes(b"\xff")
    project = Project(tmp_path)
    found = project.resolve(project.source(tmp_path / "train.py"), "model", 0)
    assert found is not None
    assert found.module is None
    assert found.failures
