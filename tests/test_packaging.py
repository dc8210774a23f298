"""What is shipped: the wheel, its metadata, the hook, and the program as installed from the wheel."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomli

import nndoctor
from nndoctor.catalog import rule_files
from nndoctor.cli.skill import SKILL

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = directory.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_the_package_and_the_catalogue(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    files = (path for kind in ("*.py", "*.css") for path in (ROOT / "nndoctor").rglob(kind))
    package = {path.relative_to(ROOT).as_posix() for path in files}
    catalogue = {f"nndoctor/rules/{path.name}" for path in rule_files().values()}
    assert package | catalogue | {"nndoctor/py.typed", f"nndoctor/{SKILL}"} <= names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "nndoctor",
        f"nndoctor-{nndoctor.__version__}.dist-info",
    }
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_torch_comes_with_an_extra_only(wheel: zipfile.ZipFile) -> None:
    required = metadata(wheel).get_all("Requires-Dist") or []
    base = [requirement for requirement in required if "extra ==" not in requirement]
    assert base
    assert not [requirement for requirement in base if requirement.startswith(("torch", "numpy"))]
    assert any(requirement.startswith("torch>=") and "probe" in requirement for requirement in required)


def test_the_installed_program_finds_its_catalogue(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "nndoctor", "rules"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(rule_files())


def test_the_installed_program_finds_its_skill(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "nndoctor", "skill", "--path"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path / 'nndoctor' / SKILL}\n"


def test_the_console_script_exists() -> None:
    from importlib import import_module

    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, attribute = project["scripts"]["nndoctor"].partition(":")
    assert callable(getattr(import_module(module), attribute))


def test_the_licence_is_the_whole_one() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
