"""`nndoctor explain`, `nndoctor rules`, `nndoctor env`, and what the shell completes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
import torch

import nndoctor
from nndoctor.catalog import load_rules, rule_names
from nndoctor.report.environment import PACKAGES

ROOT = Path(nndoctor.__file__).parents[1]


# explain


def test_explain_by_code_or_name(run) -> None:
    status, out, _ = run("explain", "nd405")
    assert status == 0
    assert "batchnorm-eps-as-momentum" in out
    assert "nn.BatchNorm1d(128, 0.8)" in out
    assert run("explain", "batchnorm-eps-as-momentum")[1] == out


def test_explain_takes_several_and_says_each_once(run) -> None:
    one, other = (run("explain", code)[1] for code in ("ND405", "ND101"))
    assert run("explain", "ND405", "ND101")[1] == f"{one}\n{other}"
    assert run("explain", "ND405,softmax-into-cross-entropy", "nd405")[1] == f"{one}\n{other}"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["batchnorm-eps-as-momento"], "did you mean batchnorm-eps-as-momentum?"),
        (["ND101", "ND4055"], "there is no rule 'ND4055'; did you mean ND405"),
        (["ND2"], "codes begin with 'ND2', from ND201 to ND2"),
        ([], "Missing argument"),
    ],
)
def test_explain_helps_with_a_typo(run, words: list[str], complaint: str) -> None:
    status, out, err = run("explain", *words)
    assert (status, out) == (2, "")
    assert complaint in err


# rules


def test_rules_lists_every_rule(run) -> None:
    status, out, _ = run("rules")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(rule_names())


def test_rules_as_json(run) -> None:
    rows = json.loads(run("rules", "--format", "json")[1])
    assert {row["code"]: row["name"] for row in rows} == rule_names()
    assert rows[0].keys() == {"code", "name", "pass", "severity", "summary", "why", "treatment", "source"}
    assert {row["pass"] for row in rows} == {"static", "dynamic"}


def test_rules_as_markdown(run) -> None:
    lines = run("rules", "--format", "markdown")[1].splitlines()
    rows = [line for line in lines if line.startswith("| ND")]
    assert [row.split("|")[1].strip() for row in rows] == [rule.code for rule in load_rules()]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


def test_rules_in_an_unknown_form_is_2(run) -> None:
    assert run("rules", "--format", "yaml")[0] == 2


# env


def test_env_names_versions_without_importing_torch(run) -> None:
    Path("nndoctor.toml").write_text('extend = "base.toml"\n', encoding="utf-8")
    Path("base.toml").touch()
    status, out, _ = run("env")
    facts = dict(line.split(None, 1) for line in out.splitlines())
    assert status == 0
    assert (facts["nndoctor"], facts["torch"]) == (nndoctor.__version__, torch.__version__)
    assert facts["python"].startswith(sys.version.split()[0])
    assert facts["settings"] == "nndoctor.toml, before base.toml"
    code = "import sys; from nndoctor.report import environment; environment.render(); print('torch' in sys.modules)"
    assert program([sys.executable, "-c", code]) == "False\n"


def test_env_survives_what_is_wrong(run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("nndoctor.toml").write_text("select = [", encoding="utf-8")
    monkeypatch.setattr("nndoctor.report.environment.PACKAGES", ("no-such-package-of-ours",))
    status, out, _ = run("env")
    assert status == 0
    assert "no-such-package-of-ours not installed" in out
    assert "nndoctor.toml: not valid TOML" in out


def test_env_names_what_the_doctor_depends_on() -> None:
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["probe"]]
    assert {requirement.split(">")[0] for requirement in wanted} <= set(PACKAGES)


# Completion


def program(command: list[str], **environment: str) -> str:
    """What a program of its own prints, with the doctor of this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def completions(*words: str) -> list[str]:
    """What bash is offered for the last of the words."""
    asked = {"COMP_WORDS": " ".join(["nndoctor", *words]), "COMP_CWORD": str(len(words))}
    return program([sys.executable, "-m", "nndoctor"], _NNDOCTOR_COMPLETE="complete_bash", **asked).split()


def test_the_shell_completes_commands_options_formats_and_rules() -> None:
    assert completions("ex") == ["explain"]
    assert completions("scan", "--add") == ["--add-ignore"]
    assert completions("scan", "--output-format", "s") == ["sarif"]
    assert completions("explain", "ND40") == [code for code in rule_names() if code.startswith("ND40")]
    assert completions("scan", "--select", "ND101,view-mix") == ["ND101,view-mixes-batch"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    script = program([sys.executable, "-m", "nndoctor"], _NNDOCTOR_COMPLETE=f"source_{shell}")
    assert f"_NNDOCTOR_COMPLETE=complete_{shell}" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="the shell that runs this is told by its process")
def test_completion_is_shown_and_installed(tmp_path: Path) -> None:
    call = f"'{sys.executable}' -m nndoctor"
    shown = program(["bash", "-c", f"{call} --show-completion; true"])
    assert "complete -o default -F _nndoctor_completion nndoctor" in shown
    program(["bash", "-c", f"{call} --install-completion; true"], HOME=str(tmp_path))
    installed = tmp_path / ".bash_completions" / "nndoctor.sh"
    assert installed.read_text(encoding="utf-8").strip() == shown.strip()
    assert str(installed) in (tmp_path / ".bashrc").read_text(encoding="utf-8")
