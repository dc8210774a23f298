"""What other programs run of ours: the hook, the GitHub Action, and the examples for CI in the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nndoctor.cli import app
from nndoctor.findings import Severity
from nndoctor.report.output import FORMATS

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, SCAN = ACTION["runs"]["steps"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="the steps of the action are written for bash")


def example(key: str) -> Any:
    """The one example of the README that has the key at its top."""
    [found] = [it for it in EXAMPLES if isinstance(it, dict) and key in it]
    return found


# The hook


def test_the_hook_asks_for_nothing_that_the_command_line_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    program, *arguments = hook["entry"].split()
    app([*arguments, "--help"], standalone_mode=False)
    assert program == "nndoctor"
    assert "--force-exclude" in arguments
    assert "Usage: " in capsys.readouterr().out
    assert (hook["language"], hook["types_or"], hook["require_serial"]) == ("python", ["python", "jupyter"], True)


def test_the_example_of_the_hook_names_it() -> None:
    [hooks] = [it for it in EXAMPLES if isinstance(it, list)]
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [it["id"] for it in hooks[0]["hooks"]] == [hook["id"]]


# The action


def test_the_action_has_the_form_that_github_reads() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert set(ACTION) == {"name", "description", "branding", "inputs", "runs"}
    for name, told in ACTION["inputs"].items():
        assert set(told) == {"description", "default"}, name
        assert isinstance(told["default"], str), name
    for step in ACTION["runs"]["steps"]:
        assert {"name", "shell", "run", "env"} <= set(step)
        assert step["shell"] == "bash"


def test_the_action_uses_each_input_and_lets_none_into_a_script() -> None:
    used = re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", str([step["env"] for step in ACTION["runs"]["steps"]]))
    assert sorted(used) == sorted(ACTION["inputs"])
    assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"])
    assert not any(word in str(ACTION["runs"]) for word in ("uses:", "curl", "upload"))


def step(run: dict[str, Any], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a step as a runner does."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", run["run"]]
    known = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return subprocess.run(
        command, cwd=folder, env={**known, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with a python and an nndoctor that notes its arguments and finds something."""
    folder = tmp_path / "tools of action"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (folder / "nndoctor").write_text('#!/bin/sh\nprintf "%s\\0" "$@" > arguments\nexit 1\n', encoding="utf-8")
    for program in folder.iterdir():
        program.chmod(0o755)
    return folder


def scanned(folder: Path, tools: Path, **inputs: str) -> list[str]:
    """The arguments that the step gives to nndoctor, whose exit status it takes over."""
    given = {name.upper().replace("-", "_"): told["default"] for name, told in ACTION["inputs"].items()}
    done = step(SCAN, folder, BIN=str(tools), **{**given, **inputs})
    assert (done.returncode, done.stderr) == (1, "")
    return (folder / "arguments").read_text(encoding="utf-8").removesuffix("\0").split("\0")


@bash
def test_the_action_scans_everything_by_default(tmp_path: Path, tools: Path) -> None:
    assert scanned(tmp_path, tools) == ["scan", "--fail-on", "warning", "--", "."]


@bash
def test_the_action_hands_its_inputs_on(tmp_path: Path, tools: Path) -> None:
    inputs = {
        "PATHS": "src\n\ntrain.py\n",
        "FORMAT": "full\nsarif=a b.sarif\n",
        "ARGS": "--select 'ND1, ND2' --pedantic",
    }
    expected = ["scan", "--select", "ND1, ND2", "--pedantic", "--output-format", "full", "--output-format"]
    expected += ["sarif=a b.sarif", "--exit-zero", "--", "src", "train.py"]
    assert scanned(tmp_path, tools, **inputs, FAIL_ON="never") == expected


@bash
def test_no_input_of_the_action_is_a_command(tmp_path: Path, tools: Path) -> None:
    hostile = "$(touch made) `touch made`; touch made; * \\ --config=x"
    arguments = scanned(tmp_path, tools, PATHS=hostile, FORMAT=hostile, ARGS=f"'{hostile}'", FAIL_ON=hostile)
    expected = ["scan", hostile, "--output-format", hostile, "--fail-on", hostile, "--", hostile]
    assert arguments == expected
    assert not (tmp_path / "made").exists()


@bash
def test_an_open_quote_fails_the_step(tmp_path: Path, tools: Path) -> None:
    done = step(SCAN, tmp_path, BIN=str(tools), ARGS="--select 'ND1", FORMAT="", FAIL_ON="warning", PATHS=".")
    assert done.returncode != 0
    assert "No closing quotation" in done.stderr
    assert not (tmp_path / "arguments").exists()


@bash
@pytest.mark.parametrize(("version", "wanted"), [("", "/an action"), ("0.1.0", "nndoctor==0.1.0")])
def test_the_action_installs_what_it_is_asked_for(version: str, wanted: str, tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "python3"  # its environments hold a python that notes its arguments
    fake.parent.mkdir()
    made = '#!/bin/sh\\nprintf "%%s\\\\0" "$@" > arguments\\n'
    fake.write_text(f'#!/bin/sh\nmkdir -p "$3/bin"\nprintf \'{made}\' > "$3/bin/python"\nchmod +x "$3/bin/python"\n')
    fake.chmod(0o755)
    output = tmp_path / "output"
    done = step(
        INSTALL,
        tmp_path,
        PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}",
        RUNNER_TEMP=str(tmp_path / "a b"),
        VERSION=version,
        GITHUB_ACTION_PATH="/an action",
        GITHUB_OUTPUT=str(output),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "arguments").read_text(encoding="utf-8").split("\0")[-2] == wanted
    assert output.read_text(encoding="utf-8") == f"bin={tmp_path / 'a b'}/nndoctor/bin\n"


# The examples in the README


def test_the_workflow_gives_inputs_that_the_action_has() -> None:
    [job] = example("jobs")["jobs"].values()
    [given] = [it["with"] for it in job["steps"] if "nndoctor@" in it["uses"]]
    assert set(given) <= set(ACTION["inputs"])
    assert given["fail-on"] in ("never", *(severity.value for severity in Severity))
    written = [line.partition("=") for line in given["format"].split()]
    assert {name for name, *_ in written} <= set(FORMATS)
    [upload] = [it["with"] for it in job["steps"] if "upload-sarif@" in it["uses"]]
    assert ("sarif", "=", upload["sarif_file"]) in written


def test_gitlab_takes_the_file_that_the_job_writes() -> None:
    job = example("nndoctor")["nndoctor"]
    [report] = re.findall(r"--output-format gitlab=(\S+)", " ".join(job["script"]))
    assert job["artifacts"]["reports"]["codequality"] == report
    assert job["artifacts"]["when"] == "always"
