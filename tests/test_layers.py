"""Where settings stand: files of three names, files that extend others, KEY=VALUE, and what is none of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from nndoctor.config import load_settings
from nndoctor.errors import UserError
from nndoctor.findings import Severity

NAMES = {"own": "nndoctor.toml", "hidden": ".nndoctor.toml"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**files: str) -> None:
    """A TOML file for each name, `own` for nndoctor.toml."""
    for name, text in files.items():
        Path(NAMES.get(name, f"{name}.toml")).write_text(text, encoding="utf-8")


def test_a_file_of_our_own_goes_before_pyproject(folder: Path) -> None:
    write(pyproject='[tool.nndoctor]\nfail-on = "error"\npedantic = true\n')
    assert load_settings(folder).fail_on is Severity.ERROR
    write(own='fail-on = "info"\n')
    settings = load_settings(folder)
    assert (settings.fail_on, settings.pedantic, settings.base) == (Severity.INFO, False, folder.resolve())
    write(hidden="pedantic = true\n")
    assert (load_settings(folder).fail_on, load_settings(folder).pedantic) == (Severity.WARNING, True)


def test_an_empty_file_of_our_own_ends_the_search(folder: Path) -> None:
    write(pyproject="[tool.nndoctor]\npedantic = true\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "nndoctor.toml").touch()
    settings = load_settings(folder / "sub")
    assert (settings.pedantic, settings.base) == (False, (folder / "sub").resolve())


def test_a_byte_order_mark_is_no_part_of_the_first_key(folder: Path) -> None:
    write(own="\ufeffpedantic = true\n")
    assert load_settings(folder).pedantic


def test_a_header_in_a_file_of_our_own_is_explained(folder: Path) -> None:
    write(own="[tool.nndoctor]\npedantic = true\n")
    with pytest.raises(UserError, match=r"nndoctor\.toml: the keys of \[tool\.nndoctor\] stand at the top here"):
        load_settings(folder)


def test_a_file_that_is_named_may_have_the_table_or_be_one(folder: Path) -> None:
    write(a="[tool.nndoctor]\npedantic = true\n", b="pedantic = true\n")
    assert load_settings(folder, ["a.toml"]).pedantic
    assert load_settings(folder, ["b.toml"]).pedantic


def test_what_extends_wins_key_by_key(folder: Path) -> None:
    write(
        own='extend = "base.toml"\nselect = ["ND1"]\n[probe]\nseed = 3\n[per-file-ignores]\n"b.py" = ["ND101"]',
        base='extend = "root.toml"\nselect = ["ND2"]\npedantic = true\n[probe]\neffort = "quick"\n',
        root='fail-on = "error"\npedantic = false\n[per-file-ignores]\n"a.py" = ["ND405"]\n"b.py" = ["ND405"]\n',
    )
    settings = load_settings(folder)
    assert settings.select == load_settings(folder, ['select=["ND1"]']).select
    assert (settings.pedantic, settings.fail_on) == (True, Severity.ERROR)
    assert (settings.probe.seed, settings.probe.effort) == (3, "quick")
    assert settings.per_file_ignores == {"a.py": {"ND405"}, "b.py": {"ND101"}}


def test_paths_start_at_the_file_that_names_them(folder: Path) -> None:
    (folder / "shared").mkdir()
    (folder / "shared" / "base.toml").write_text('baseline = "old.json"\nexclude = ["vendor/"]\n', encoding="utf-8")
    write(own='extend = "shared/base.toml"\n')
    settings = load_settings(folder)
    assert settings.baseline == folder.resolve() / "shared" / "old.json"
    assert settings.base == folder.resolve(), "patterns start where the project does"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('extend = "nndoctor.toml"', r"extend goes round in a circle: nndoctor\.toml extends nndoctor\.toml$"),
        ('extend = "back.toml"', r"circle: nndoctor\.toml extends back\.toml extends nndoctor\.toml$"),
        ('extend = "gone.toml"', r"^nndoctor\.toml: it extends gone\.toml, and there is no such file$"),
        ('extend = "wrong.toml"', r"^wrong\.toml has no key 'selct'; did you mean select"),
        ('extend = "other.toml"', r"other\.toml: there is no \[tool\.nndoctor\] table in it"),
        ("extend = 3", r"^nndoctor\.toml: extend must be the path of a file$"),
        ('extend = ""', r"^nndoctor\.toml: extend must be the path of a file$"),
    ],
)
def test_what_cannot_be_extended_is_named(folder: Path, text: str, complaint: str) -> None:
    write(
        own=text,
        back='extend = "nndoctor.toml"',
        wrong="selct = []",
        other="[tool.black]\n",
    )
    with pytest.raises(UserError, match=complaint):
        load_settings(folder)


def test_a_value_on_the_command_line_wins_and_the_last_one_holds(folder: Path) -> None:
    write(own='fail-on = "error"\nignore = ["ND405"]\n[probe]\nseed = 3\ndevice = "mps"\n')
    settings = load_settings(folder, ['fail-on="info"', "probe.seed=4", "probe.seed = 5", 'ignore=["ND101"]'])
    assert (settings.fail_on, settings.ignore) == (Severity.INFO, {"ND101"})
    assert (settings.probe.seed, settings.probe.device) == (5, "mps")
    assert settings.base == folder.resolve()


def test_a_file_whose_name_has_an_equals_sign_is_a_file(folder: Path) -> None:
    Path("a=b.toml").write_text("pedantic = true\n", encoding="utf-8")
    assert load_settings(folder, ["a=b.toml"]).pedantic


def test_isolated_reads_no_file_and_takes_values(folder: Path) -> None:
    write(own="pedantic = true\nwrong = 3\n")
    settings = load_settings(folder, ['fail-on="info"'], isolated=True)
    assert (settings.pedantic, settings.fail_on, settings.base) == (False, Severity.INFO, None)


@pytest.mark.parametrize(
    ("config", "isolated", "complaint"),
    [
        (["fail-on=error"], False, r"""not KEY=VALUE in TOML; write --config 'fail-on="error"', or a file$"""),
        (["fail-on='error"], False, r"""write --config 'fail-on="error"'"""),
        (["selct=[]"], False, r"^--config has no key 'selct'; did you mean select"),
        (["probe.seed='x'"], False, r"^--config: \[probe\]: seed must be an integer$"),
        (["tool.nndoctor.pedantic=true"], False, r"^--config: the keys of \[tool\.nndoctor\] stand at the top here"),
        (["gone.toml"], False, r"^gone\.toml: there is no such file$"),
        (["a.toml", "b.toml"], False, r"a\.toml and b\.toml: name one file"),
        (["a.toml"], True, r"--isolated reads no file, and --config names a\.toml"),
    ],
)
def test_what_config_cannot_take(folder: Path, config: list[str], isolated: bool, complaint: str) -> None:
    write(a="", b="")
    with pytest.raises(UserError, match=complaint):
        load_settings(folder, config, isolated)
