"""Entrypoints: what is found, and what is said when it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nndoctor.errors import UserError
from nndoctor.probe.entrypoint import call_factory, load
from nndoctor.probe.errors import EntrypointError

SOURCE = """
class Zoo:
    lion = "roar"

def build_model(hidden, depth=2):
    return hidden, depth

model = build_model(3)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module, a package and modules that cannot be imported; nothing of it stays loaded."""
    (tmp_path / "savanna.py").write_text(SOURCE)
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner" / "deep.py").write_text("from .. import inner\nvalue = inner.__name__\n")
    (tmp_path / "raises.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    (tmp_path / "exits.py").write_text("import argparse\np = argparse.ArgumentParser()\np.exit(2)\n")
    (tmp_path / "misspelt.py").write_text("x = (\n")
    (tmp_path / "needs.py").write_text("import a_module_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("savanna:model", (3, 2)),
        ("savanna:Zoo.lion", "roar"),
        ("savanna.py:model", (3, 2)),
        ("./savanna.py:model", (3, 2)),
        ("pack.inner.deep:value", "pack.inner"),
        ("pack/inner/deep.py:value", "pack.inner"),
    ],
)
def test_finds_an_object(project: Path, text: str, value: object) -> None:
    assert load(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("savanna", "`savanna` names no object: write module:attribute"),
        ("savanna:", "names no object"),
        (":model", "names no object"),
        ("savana:model", "there is no module `savana` in .*did you mean `savanna`"),
        ("pack.iner.deep:value", "there is no module `pack.iner` in .*did you mean `inner`"),
        ("savana.py:model", r"there is no file savana.py; did you mean `savanna.py`"),
        ("savanna:modle", "module `savanna` has no `modle` .*did you mean `model`"),
        ("savanna:Zoo.loin", "has no `loin`.*did you mean `lion`"),
        ("raises:f", r"importing `raises` failed at raises.py:2: ZeroDivisionError: division by zero"),
        ("exits:p", r"importing `exits` failed at exits.py:3: SystemExit: 2; put what runs on import under"),
        ("misspelt:x", r"importing `misspelt` failed at misspelt.py:1: SyntaxError: '\(' was never closed"),
        (
            "needs:x",
            r"importing `needs` failed at needs.py:1: ModuleNotFoundError: No module named 'a_module_nobody_has'",
        ),
    ],
)
def test_says_what_is_wrong(project: Path, text: str, sentence: str) -> None:
    with pytest.raises(EntrypointError, match=sentence) as caught:
        load(text)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


def test_an_import_that_raises_knows_its_line(project: Path) -> None:
    with pytest.raises(EntrypointError) as caught:
        load("raises:f")
    assert caught.value.location is not None
    assert (caught.value.location.path, caught.value.location.line) == ("raises.py", 2)


def test_a_factory_that_needs_arguments_is_told_how_to_give_them(project: Path) -> None:
    build = load("savanna:build_model")
    with pytest.raises(EntrypointError, match=r"needs `hidden`: give --arg hidden=..., or name a function without"):
        call_factory(build, "savanna:build_model", {})
    with pytest.raises(EntrypointError, match=r"needs `hidden`: name a function .* `def build\(\): return build_model"):
        call_factory(build, "savanna:build_model")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("1e-3", 1e-3),
        ("None", None),
        ("(1, 2)", (1, 2)),
        ("true", True),
        ("[true, 3]", [True, 3]),
        ("{width = 3}", {"width": 3}),
        ('"64"', "64"),
        ("resnet", "resnet"),
        ("2024-01-31", "2024-01-31"),
        ("[unfinished", "[unfinished"),
    ],
)
def test_arguments_are_read_as_python_or_toml_or_text(text: str, value: object) -> None:
    assert call_factory(lambda hidden: hidden, "made:f", {"hidden": text}) == value


def test_an_argument_that_the_factory_does_not_take_is_refused(project: Path) -> None:
    build = load("savanna:build_model")
    with pytest.raises(EntrypointError, match="--arg hiden: `f` has no such parameter; did you mean `hidden`"):
        call_factory(build, "f", {"hiden": "3"})
    with pytest.raises(EntrypointError, match="--arg x: `f` has no such parameter; it has `hidden`, `depth`"):
        call_factory(build, "f", {"x": "3"})
    assert call_factory(lambda **options: options, "f", {"x": "3"}) == {"x": 3}


def test_a_factory_that_raises_is_reported_in_one_sentence(project: Path) -> None:
    (project / "fails.py").write_text("def f():\n    raise ValueError('no such file\\nat all')\n")
    with pytest.raises(EntrypointError, match=r"`fails:f` failed at fails.py:2: ValueError: no such file$"):
        call_factory(load("fails:f"), "fails:f")
