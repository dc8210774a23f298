"""Which reports are written where, with the static pass replaced by a report made by hand."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

import nndoctor
from nndoctor.cli import main, options
from nndoctor.errors import UserError
from nndoctor.findings import Confidence, Finding, Location, Report, Severity
from nndoctor.report.destinations import replace_file
from nndoctor.report.output import DEFAULT_FORMAT, FORMATS

FINDING = Finding(
    "ND101",
    "softmax-into-cross-entropy",
    Severity.ERROR,
    Confidence.CERTAIN,
    "it is wrong",
    "Mend it.",
    Location("train.py", 1, 1, 1, 7),
    "import torch  ##[set-output name=a]b",
)
Run = Callable[..., tuple[int | None, str, str]]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`nndoctor scan train.py` with further options, in an empty folder, on a pass that has one finding."""
    scanned = Report("scan", "train.py", (FINDING,), files=1)
    monkeypatch.setattr("nndoctor.scan.engine", SimpleNamespace(scan=lambda request: scanned), raising=False)
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("import torch\n", encoding="utf-8")

    def scan(*arguments: str) -> tuple[int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["nndoctor", "scan", "train.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return scan


def test_the_formats_of_the_help_are_those_there_are() -> None:
    assert get_args(options.Format) == FORMATS
    assert DEFAULT_FORMAT in FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_the_same_on_stdout_and_in_a_file(run: Run, name: str) -> None:
    status, out, err = run("--output-format", name)
    assert (status, err) == (1, "")
    assert "it is wrong" in out
    assert run("--output-format", f"{name}=report") == (1, "", "")
    assert Path("report").read_text(encoding="utf-8") == out
    assert run("--output-format", name, "--output-file", "other") == (1, "", "")
    assert Path("other").read_bytes() == Path("report").read_bytes()


def test_several_formats_at_once(run: Run) -> None:
    status, out, _ = run("--output-format", "concise", "--output-format", "json=a.json", "--output-format", "junit=b=c")
    assert (status, out) == (1, "train.py:1:1: error: ND101 it is wrong\n")
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["summary"]["errors"] == 1
    assert Path("b=c").read_text(encoding="utf-8").startswith("<?xml")


def test_a_file_for_the_default_format_holds_no_colours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("--output-file", "report.txt")[:2] == (1, "")
    text = Path("report.txt").read_text(encoding="utf-8")
    assert text.startswith("nndoctor scan train.py")
    assert "\x1b" not in text


def test_statistics_leave_the_formats_for_programs_as_they_are(run: Run) -> None:
    _, out, _ = run("--statistics", "--output-format", "full", "--output-format", "sarif=a.sarif")
    assert out == "     1  error    ND101  softmax-into-cross-entropy\n"
    assert len(json.loads(Path("a.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output-format", "serif"], "there is no format 'serif'; did you mean sarif?"),
        (["--output-format", ""], "there is no format ''"),
        (["--output-format", "sarif="], "name the file after the ="),
        (["--output-format", "full", "--output-format", "json"], "full and json cannot share one output"),
        (["--output-format", "json=a", "--output-file", "b"], "every --output-format names one"),
        (["--output-format", "json=a", "--output-format", "sarif=./a"], "two reports cannot share one file"),
        (["--diff", "--output-file", "report"], "--diff shows what would change and writes no report"),
        (["--output-file", "folder"], "folder is a folder"),
        (["--output-file", "none/report"], "the folder none of the report report does not exist"),
        (["--output-file", "train.py"], "train.py is a script that the report would overwrite"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(run: Run, arguments: list[str], said: str) -> None:
    Path("folder").mkdir()
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "train.py"]


# Files


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("old")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to(file)
    replace_file(tmp_path / "link", "new ␛\n")
    assert file.read_text(encoding="utf-8") == "new ␛\n"
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {"report", "link"}


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "report", "new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == 0o640


def test_a_refused_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "report"
    file.write_text("old")
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=r"cannot write .*report: Permission denied"):
        replace_file(file, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices")
def test_a_device_is_written_to_and_not_replaced() -> None:
    replace_file(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


# GitHub Actions


@pytest.fixture
def on_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")


ANNOTATION = (
    "::error file=train.py,line=1,endLine=1,col=1,endColumn=6,title=ND101 softmax-into-cross-entropy::it is wrong"
)


@pytest.mark.usefixtures("on_actions")
def test_a_workflow_gets_annotations_besides_the_default(run: Run) -> None:
    _, out, _ = run()
    assert out.startswith("nndoctor scan train.py")
    assert out.splitlines()[-1].startswith(ANNOTATION)
    assert run("--output-file", "report.txt")[1].startswith(ANNOTATION)


@pytest.mark.usefixtures("on_actions")
@pytest.mark.parametrize("arguments", [["--output-format", "full"], ["--output-format", "json"], ["--statistics"]])
def test_a_workflow_that_chose_gets_what_it_chose(run: Run, arguments: list[str]) -> None:
    assert "::error" not in run(*arguments)[1]


@pytest.mark.usefixtures("on_actions")
def test_a_line_of_code_commands_no_workflow(run: Run) -> None:
    out = run()[1]
    assert "##[" not in out
    assert "## [set-output name=a]b" in out


# Start-up


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "full"])
def test_a_format_imports_no_other(name: str) -> None:
    modules = [f"nndoctor.report.{other}" for other in FORMATS if other not in (name, "full", "github")]
    shared = {"sarif": {"nndoctor.report.json"}}.get(name, set())
    program = f"""
import sys
from nndoctor.cli import finish
from nndoctor.findings import Report
from nndoctor.report.output import Style, write
write(Report("scan", "train.py"), Style({name!r}), sys.stdout)
print({{*{modules!r}}} & set(sys.modules) - {shared!r}, "nndoctor.report.terminal" in sys.modules, file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == "set() False\n"
