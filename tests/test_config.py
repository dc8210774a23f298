"""[tool.nndoctor] of pyproject.toml, and the command line over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nndoctor.catalog import rule_names
from nndoctor.config import ProbeSettings, Settings, load_settings, with_options
from nndoctor.errors import UserError
from nndoctor.findings import Severity
from nndoctor.selection import near, of_pass, resolve, resolve_one, split_selectors


@pytest.fixture
def project(tmp_path: Path):
    """Writes pyproject.toml into a fresh directory and reads the settings back."""

    def settings(text: str) -> Settings:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        return load_settings(tmp_path)

    return settings


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings()


def test_every_key_is_read(project, tmp_path: Path) -> None:
    settings = project(
        """
        [tool.nndoctor]
        select = ["ND1", "batchnorm-eps-as-momentum"]
        extend-select = ["ND301"]
        ignore = ["ND101"]
        exclude = ["vendor/"]
        pedantic = true
        fail-on = "error"
        minimum-torch = "1.13.1"

        [tool.nndoctor.per-file-ignores]
        "tests/*" = ["ND405"]

        [tool.nndoctor.probe]
        device = "auto"
        seed = 7
        effort = "quick"
        select = []
        """
    )
    assert settings == Settings(
        select=resolve(["ND1", "ND405", "ND301"], ""),
        ignore=frozenset({"ND101"}),
        exclude=("vendor/",),
        pedantic=True,
        fail_on=Severity.ERROR,
        minimum_torch=(1, 13),
        per_file_ignores={"tests/*": frozenset({"ND405"})},
        probe=ProbeSettings(device="auto", seed=7, effort="quick", select=frozenset()),
        base=tmp_path.resolve(),
    )


def test_the_nearest_file_with_a_table_wins(project, tmp_path: Path) -> None:
    project("[tool.nndoctor]\npedantic = true\n")
    below = tmp_path / "src" / "package"
    below.mkdir(parents=True)
    (tmp_path / "src" / "pyproject.toml").write_text('[project]\ndependencies = ["nndoctor"]\n', encoding="utf-8")
    script = below / "train.py"
    script.touch()
    assert load_settings(script).pedantic
    (below / "pyproject.toml").write_text("[tool.nndoctor]\n", encoding="utf-8")
    assert not load_settings(script).pedantic


def test_somebody_elses_broken_file_is_none_of_our_business(project) -> None:
    assert project("[tool.black\n") == Settings()


def test_a_named_file_is_read_instead(project, tmp_path: Path) -> None:
    project("[tool.nndoctor]\npedantic = true\n")
    other = tmp_path / "other.toml"
    other.write_text('[tool.nndoctor]\nfail-on = "info"\n', encoding="utf-8")
    settings = load_settings(tmp_path, [str(other)])
    assert (settings.pedantic, settings.fail_on) == (False, Severity.INFO)


def test_a_named_file_needs_the_table(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[tool.black]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"there is no \[tool\.nndoctor\] table"):
        load_settings(tmp_path, [str(other)])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tool.nndoctor]\nselct = []", r"\[tool.nndoctor\] has no key 'selct'; did you mean select"),
        ("[tool.nndoctor]\nzzz = []", r"\[tool.nndoctor\] has no key 'zzz'$"),
        ("[tool.nndoctor.probe]\ndevise = 'cpu'", r"\[tool.nndoctor.probe\] has no key 'devise'; did you mean device"),
        ("[tool.nndoctor]\nselect = 'ND101'", "select must be a list of strings"),
        ("[tool.nndoctor]\nselect = [101]", "select must be a list of strings"),
        ("[tool.nndoctor]\nignore = ['ND9']", "ignore: no rule matches 'ND9'"),
        ("[tool.nndoctor]\npedantic = 'yes'", "pedantic must be true or false"),
        ("[tool.nndoctor]\nfail-on = 'bad'", "fail-on must be one of error, warning, info"),
        ("[tool.nndoctor]\nminimum-torch = 2.1", 'minimum-torch must be a version such as "2.4"'),
        ("[tool.nndoctor]\nminimum-torch = 'new'", 'minimum-torch must be a version such as "2.4"'),
        ("[tool.nndoctor]\nper-file-ignores = []", "per-file-ignores must be a table"),
        ("[tool.nndoctor.per-file-ignores]\n'a.py' = ['softmax']", "'softmax'"),
        ("[tool.nndoctor.probe]\nseed = true", "seed must be an integer"),
        ("[tool.nndoctor.probe]\neffort = 'max'", "effort must be one of quick, normal, full"),
        ("[tool]\nnndoctor = 3", "must be a table"),
        ("[tool.nndoctor\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said(project, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        project(text)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.nndoctor]\n# \xff\n")
    with pytest.raises(UserError, match=r"pyproject\.toml: cannot read it"):
        load_settings(tmp_path)


FILE = Settings(
    select=frozenset({"ND101"}), ignore=frozenset({"ND405"}), exclude=("vendor",), pedantic=True, fail_on=Severity.ERROR
)


def test_without_options_the_file_stands() -> None:
    assert with_options(FILE) == FILE


def test_select_replaces_what_the_file_selects_and_ignores() -> None:
    settings = with_options(FILE, select=["ND405,ND301"])
    assert (settings.select, settings.ignore) == ({"ND405", "ND301"}, frozenset())


def test_lists_add_to_the_lists_of_the_file() -> None:
    settings = with_options(FILE, extend_select=["ND301"], ignore=["ND302"], exclude=["build"])
    assert settings.select == {"ND101", "ND301"}
    assert settings.ignore == {"ND405", "ND302"}
    assert settings.exclude == ("vendor", "build")


def test_extending_every_rule_is_every_rule() -> None:
    assert with_options(Settings(), extend_select=["ND301"]).select is None


def test_switches_win_both_ways() -> None:
    settings = with_options(FILE, pedantic=False, fail_on="info")
    assert (settings.pedantic, settings.fail_on) == (False, Severity.INFO)


@pytest.mark.parametrize("option", ["select", "extend_select", "ignore"])
def test_an_unknown_rule_is_named_with_its_option(option: str) -> None:
    name = f"--{option.replace('_', '-')}"
    with pytest.raises(UserError, match=f"{name}: no rule matches 'batchnorm-eps-as-momento'; did you mean batch"):
        with_options(Settings(), **{option: ["batchnorm-eps-as-momento"]})


def test_a_rule_is_meant_by_code_prefix_or_name() -> None:
    assert resolve(["nd405"], "") == {"ND405"}
    assert resolve(["BatchNorm-eps-as-momentum"], "") == {"ND405"}
    assert resolve(["ND4"], "") == {code for code in rule_names() if code.startswith("ND4")}
    assert resolve(["ND"], "") == set(rule_names())
    assert resolve([], "") == frozenset()


@pytest.mark.parametrize("selector", ["N", "4", "405", "batchnorm", "", "ND4*"])
def test_what_is_no_code_prefix_or_name_is_refused(selector: str) -> None:
    with pytest.raises(UserError, match="no rule matches"):
        resolve([selector], "--select")


def test_one_rule_by_code_or_name_but_not_by_prefix() -> None:
    assert resolve_one("nd405") == resolve_one("batchnorm-eps-as-momentum") == "ND405"
    with pytest.raises(UserError, match="codes begin with 'ND4', from ND401 to ND4"):
        resolve_one("ND4")
    with pytest.raises(UserError, match="there is no rule 'ND40x'; did you mean ND40"):
        resolve_one("ND40x")


def test_selectors_are_split_at_commas() -> None:
    assert split_selectors(["ND101, ND2", "ND3,"]) == ("ND101", "ND2", "ND3")


def test_near_matches_ignore_case_and_keep_the_spelling() -> None:
    assert near("nd40S", ["ND405", "ND101"]) == "; did you mean ND405?"
    assert near("zebra", ["ND405"]) == ""


def test_each_command_takes_the_rules_of_its_pass() -> None:
    both = frozenset({"ND101", "NDP01"})
    assert of_pass(both, probes=False) == {"ND101"}
    assert of_pass(both, probes=True) == {"NDP01"}
    assert of_pass(None, probes=True) is None
    with pytest.raises(UserError, match="`nndoctor scan` knows none of NDP01: try `nndoctor probe`"):
        of_pass(frozenset({"NDP01"}), probes=False)
