"""Which files concern the doctor, and which of them are one part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from programs import notebook, write

from nndoctor.requests import ScanRequest
from nndoctor.scan import survey as surveying
from nndoctor.scan.disk import Disk
from nndoctor.scan.survey import mentions_torch, survey

T = "import torch\n"


def parts(folder: Path, files: Mapping[str, str], asked: tuple[str, ...] | None = None) -> list[list[str]]:
    """The parts of some files, by name; of all that are written down if none are named."""
    write(folder, files)
    paths = sorted(folder / name for name in asked or files)
    found = survey(paths, ScanRequest(paths=(folder,), root=folder), Disk())
    return [[Path(file).relative_to(folder).as_posix() for file in part.files] for part in found]


@pytest.mark.parametrize(
    "data",
    [b"import torch", b"from lightning import Trainer", b"import pytorch_lightning as pl", b"from timm import x"],
)
def test_the_prefilter_lets_pass(data: bytes) -> None:
    assert mentions_torch(data)


@pytest.mark.parametrize("data", [b"", b"import os\n", b"# tensor and trainer\n"])
def test_the_prefilter_holds_back(data: bytes) -> None:
    assert not mentions_torch(data)


@pytest.mark.parametrize(
    "text",
    [
        T + "import model\n",
        T + "import os, model as m\n",
        T + "from model import net\n",
        T + "from . import model\n",
        T + "from .model import (\n    net,\n    loss,\n)\n",
        T + "def main():\n    from model import net\n",
        T + "if True: pass\ntry:\n\timport model\nexcept ImportError: pass\n",
    ],
)
def test_files_that_import_each_other_are_one_part(text: str, tmp_path: Path) -> None:
    assert parts(tmp_path, {"main.py": text, "model.py": T, "other.py": T}) == [["main.py", "model.py"], ["other.py"]]


@pytest.mark.parametrize(
    "text",
    [
        "import models\n",
        "# import model\n",
        "x = 'import model'\n",
        "from os import model\n",
        "from torch import model\n",
    ],
)
def test_files_that_do_not_are_parts_of_their_own(text: str, tmp_path: Path) -> None:
    assert parts(tmp_path, {"main.py": T + text, "model.py": T}) == [["main.py"], ["model.py"]]


def test_a_notebook_belongs_to_what_it_imports(tmp_path: Path) -> None:
    cell = ["import torch\n", "from model import net\n"]
    text = notebook(["x"]).replace('"x"', str(cell).replace("'", '"').replace('\\n",', '\\n",\n'))
    for layout in (text, notebook(["".join(cell)]), notebook(cell)):
        assert parts(tmp_path, {"a.ipynb": layout, "model.py": T}) == [["a.ipynb", "model.py"]]


def test_submodules_of_a_package_are_found_with_and_without_its_init(tmp_path: Path) -> None:
    files = {"main.py": T + "from nets import a, b\n", "nets/a.py": T, "nets/b.py": T, "nets/c.py": T}
    assert parts(tmp_path, files) == [["main.py", "nets/a.py", "nets/b.py"], ["nets/c.py"]]
    files["nets/__init__.py"] = ""
    assert ["main.py", "nets/a.py", "nets/b.py"] in parts(tmp_path, files)


def test_a_file_that_was_not_asked_for_connects_those_that_import_it(tmp_path: Path) -> None:
    files = {"a.py": T + "import model\n", "b.py": T + "import nets\n", "model.py": T + "import nets\n", "nets.py": T}
    assert parts(tmp_path, files, ("a.py", "b.py")) == [["a.py", "b.py"]]


def test_a_file_without_torch_connects_nothing(tmp_path: Path) -> None:
    files = {"a.py": T + "import log\n", "b.py": T + "import log\n", "log.py": "import os\n"}
    assert parts(tmp_path, files) == [["a.py"], ["b.py"]]


def test_a_file_concerns_the_doctor_if_it_imports_one_with_torch(tmp_path: Path) -> None:
    files = {"main.py": "from nets import a\n", "nets/a.py": T, "setup.py": "import os\n"}
    assert parts(tmp_path, files) == [["main.py", "nets/a.py"]]


def test_a_large_group_is_taken_apart_neighbours_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "MAX_LINES", 6)
    files = dict.fromkeys(("b.py", "c.py", "d.py", "e.py"), T + "import a\n")
    assert parts(tmp_path, {"a.py": T, **files}) == [["a.py", "b.py", "c.py"], ["d.py", "e.py"]]


def test_one_file_may_be_larger_than_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "MAX_LINES", 2)
    assert parts(tmp_path, {"a.py": T + "import b\n" * 9, "b.py": T}) == [["a.py"], ["b.py"]]


def test_a_text_in_the_place_of_a_file_counts(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": T, "b.py": T})
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    request = ScanRequest(paths=(tmp_path,), root=tmp_path, texts={paths[0]: T + "import b\n"})
    assert [len(part.files) for part in survey(paths, request, Disk())] == [2]


@pytest.mark.timeout(60)  # far above what it takes
@pytest.mark.parametrize("words", ["import torch, ", "(import ", "from x import (", "import "])
def test_a_hostile_file_takes_no_longer_than_its_size(words: str, tmp_path: Path) -> None:
    text = words * 10**5
    assert parts(tmp_path, {"a.py": f"torch\n{text}", "b.py": "torch\n" + " " * 10**6 + text}) == [["a.py"], ["b.py"]]
