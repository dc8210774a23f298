"""The command line, with the two passes replaced by fakes: what it asks of them, what it prints, how it exits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nndoctor
from nndoctor.cli import app, main
from nndoctor.errors import UserError
from nndoctor.findings import Confidence, Failure, Finding, Location, ProbeResult, Report, Severity
from nndoctor.requests import ProbeRequest, ScanRequest


@dataclass
class FakePass:
    """Stands for one of the passes: notes the request and answers with `report`, or does what `act` does."""

    report: Report
    act: Callable[[], None] = lambda: None
    requests: list[Any] = field(default_factory=list)
    scans: list[ScanRequest | None] = field(default_factory=list)  # how a check-up shall read the script

    def __call__(
        self, request: Any, progress: Callable[[str], None] = lambda text: None, scan: ScanRequest | None = None
    ) -> Report:
        self.requests.append(request)
        self.scans.append(scan)
        progress("looking")
        self.act()
        return self.report


def finding(severity: Severity, code: str = "ND101", cell: int | None = None) -> Finding:
    location = Location("train.py", 3, 5, cell=cell)
    return Finding(code, "a-name", severity, Confidence.CERTAIN, "it is wrong", "Mend it.", location)


@pytest.fixture
def scan_pass(monkeypatch: pytest.MonkeyPatch) -> FakePass:
    fake = FakePass(Report("scan", "train.py", files=1))
    monkeypatch.setattr("nndoctor.scan.engine", SimpleNamespace(scan=fake), raising=False)
    return fake


@pytest.fixture
def probe_pass(monkeypatch: pytest.MonkeyPatch) -> FakePass:
    fake = FakePass(Report("probe", "m:net", probes=(ProbeResult("NDP01", "init-loss", "ok", "2.31"),)))
    monkeypatch.setattr("nndoctor.probe.checkup", SimpleNamespace(checkup=fake), raising=False)
    return fake


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to name; the working directory is its own."""
    monkeypatch.chdir(tmp_path)
    path = Path("train.py")
    path.write_text("import torch\n", encoding="utf-8")
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the console script in this process: exit status, stdout, stderr."""

    def nndoctor(*arguments: str) -> tuple[int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["nndoctor", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return nndoctor


def interpreter(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own."""
    root = str(Path(nndoctor.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root, **environment},
        check=False,
    )


# Exit status


def test_nothing_to_report_is_0(run, scan_pass: FakePass, script: Path) -> None:
    status, out, err = run("scan", "train.py")
    assert (status, err) == (0, "")
    assert "Nothing to report." in out


@pytest.mark.parametrize(
    ("severity", "options", "expected"),
    [
        (Severity.ERROR, [], 1),
        (Severity.WARNING, [], 1),
        (Severity.INFO, [], 0),
        (Severity.INFO, ["--fail-on", "info"], 1),
        (Severity.WARNING, ["--fail-on", "error"], 0),
        (Severity.ERROR, ["--fail-on", "error"], 1),
        (Severity.ERROR, ["--exit-zero"], 0),
    ],
)
def test_findings_are_1_from_fail_on_upwards(
    run, scan_pass: FakePass, script: Path, severity: Severity, options: list[str], expected: int
) -> None:
    scan_pass.report = Report("scan", "train.py", (finding(severity),))
    assert run("scan", "train.py", *options)[0] == expected


@pytest.mark.parametrize("options", [[], ["--exit-zero"]])
def test_what_could_not_be_examined_is_2(run, scan_pass: FakePass, script: Path, options: list[str]) -> None:
    failure = Failure("cannot parse it", "ND001", Location("train.py", 1))
    scan_pass.report = Report("scan", "train.py", (finding(Severity.ERROR),), failures=(failure,))
    assert run("scan", "train.py", *options)[0] == 2


def test_a_bad_notebook_cell_costs_that_cell_only(run, scan_pass: FakePass, script: Path) -> None:
    failure = Failure("cannot parse it", "ND001", Location("a.ipynb", 1, cell=2))
    scan_pass.report = Report("scan", "a.ipynb", (finding(Severity.WARNING, "ND001", cell=3),), failures=(failure,))
    status, out, _ = run("scan", "train.py", "--output-format", "concise")
    assert status == 0
    assert out.count("ND001") == 2


def test_a_probe_that_failed_is_2(run, probe_pass: FakePass) -> None:
    probe_pass.report = Report("probe", "m:net", probes=(ProbeResult("NDP01", "init-loss", "failed", "it raised"),))
    assert run("probe", "m:net", "--data", "m:data")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [["scan", "--no-such-option"], ["scan", "no-such-file.py"], ["probe", "m:net"], ["no-such-command"], []],
)
def test_wrong_usage_is_2(run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert status == 2
    assert "Traceback" not in out + err


def test_a_user_error_is_one_sentence_and_2(run, scan_pass: FakePass, script: Path) -> None:
    def fail() -> None:
        raise UserError("this is wrong:\n do that")

    scan_pass.act = fail
    assert run("scan", "train.py") == (2, "", "nndoctor: error: this is wrong: do that\n")


def test_a_crash_is_one_sentence_and_2(run, scan_pass: FakePass, script: Path) -> None:
    def crash() -> None:
        raise ZeroDivisionError("by zero")

    scan_pass.act = crash
    status, out, err = run("scan", "train.py", "--exit-zero")
    assert (status, out) == (2, "")
    assert "ZeroDivisionError: by zero" in err
    assert err.count("\n") == 1


def test_the_traceback_of_a_crash_is_there_on_request(
    run, scan_pass: FakePass, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> None:
        raise ZeroDivisionError("by zero")

    scan_pass.act = crash
    monkeypatch.setenv("NNDOCTOR_DEBUG", "1")
    status, _, err = run("scan", "train.py")
    assert status == 2
    assert "Traceback" in err


def test_an_interrupt_is_130(run, scan_pass: FakePass, script: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    scan_pass.act = interrupt
    status, _, err = run("scan", "train.py")
    assert (status, "Traceback" in err) == (130, False)


# What scan asks of the static pass


def test_scan_by_default_asks_for_every_rule_here(run, scan_pass: FakePass, script: Path) -> None:
    run("scan", "--jobs", "3")
    cache = Path.cwd() / ".nndoctor_cache"
    assert scan_pass.requests == [ScanRequest(paths=(Path(),), root=Path.cwd(), cache=cache, jobs=3)]


def test_scan_hands_its_options_on(run, scan_pass: FakePass, script: Path) -> None:
    run(
        *("scan", "train.py", "--select", "ND101,ND405", "--ignore", "batchnorm-eps-as-momentum", "--pedantic"),
        *("--exclude", "a/", "--exclude", "b/", "--force-exclude", "--no-cache", "--jobs", "1"),
    )
    assert scan_pass.requests == [
        ScanRequest(
            paths=(Path("train.py"),),
            root=Path.cwd(),
            select=frozenset({"ND101", "ND405"}),
            ignore=frozenset({"ND405"}),
            pedantic=True,
            exclude=("a/", "b/"),
            force_exclude=True,
        )
    ]


def test_scan_reads_the_settings_of_the_first_path(run, scan_pass: FakePass, script: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[tool.nndoctor]\nfail-on = "error"\nper-file-ignores = {"tests/*" = ["ND101"]}\n', encoding="utf-8"
    )
    (project / "model.py").touch()
    scan_pass.report = Report("scan", "train.py", (finding(Severity.WARNING),))
    assert run("scan", "project/model.py", "train.py")[0] == 0
    assert scan_pass.requests[0].per_file_ignores == {"tests/*": {"ND101"}}
    assert scan_pass.requests[0].base == project.resolve()
    assert run("scan", "project/model.py", "--fail-on", "warning")[0] == 1
    assert run("scan", "train.py")[0] == 1
    assert run("scan", "train.py", "--config", "project/pyproject.toml")[0] == 0


def test_scan_reads_stdin(run, scan_pass: FakePass, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfimport torch\n")))
    run("scan", "-", "--stdin-filename", "train.py")
    request = scan_pass.requests[0]
    assert (request.paths, request.stdin, request.stdin_filename) == ((), "import torch\n", "train.py")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-", "train.py"], "must be the only path"),
        (["-"], "stdin is not UTF-8"),
        (["train.py", "--stdin-filename", "a.py"], "write - in place of the path"),
        (["train.py", "--select", "ND9999"], "--select: no rule matches 'ND9999'"),
        (["train.py", "--ignore", "softmax"], "--ignore: no rule matches 'softmax'"),
    ],
)
def test_scan_refuses(
    run,
    scan_pass: FakePass,
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    status, _, err = run("scan", *arguments)
    assert status == 2
    assert complaint in err
    assert scan_pass.requests == []


# What probe asks of the dynamic pass


def test_probe_by_default(run, probe_pass: FakePass, script: Path) -> None:
    status, out, err = run("probe", "m:net", "--data", "m:data")
    assert (status, err) == (0, "")
    assert "NDP01" in out
    assert probe_pass.requests == [ProbeRequest(model="m:net", data="m:data", root=Path.cwd())]


def test_probe_reads_the_script_as_the_settings_say(run, probe_pass: FakePass, script: Path) -> None:
    Path("nndoctor.toml").write_text('[per-file-ignores]\n"old.py" = ["ND101"]\n', encoding="utf-8")
    run("probe", "m:net", "--data", "m:data", "--ignore", "ND202")
    (scan,) = probe_pass.scans
    assert scan is not None
    assert (scan.ignore, scan.per_file_ignores) == (frozenset({"ND202"}), {"old.py": frozenset({"ND101"})})


def test_probe_hands_its_options_on(run, probe_pass: FakePass, script: Path) -> None:
    run(
        *("probe", "m:net", "--data", "m:data", "--loss", "m:loss", "--optimizer", "m:adam", "--step", "m:step"),
        *("--inputs", "0", "--targets", "1", "--device", "auto", "--amp", "--seed", "3", "--effort", "full"),
        *("--arg", "hidden=64", "--arg", "name=a=b", "--amp-dtype", "fp16", "--memory", "8"),
    )
    assert probe_pass.requests == [
        ProbeRequest(
            model="m:net",
            data="m:data",
            root=Path.cwd(),
            loss="m:loss",
            optimizer="m:adam",
            step="m:step",
            inputs="0",
            targets="1",
            device="auto",
            amp=True,
            amp_dtype="fp16",
            memory=8,
            seed=3,
            effort="full",
            arguments={"hidden": "64", "name": "a=b"},
        )
    ]


def test_probe_reads_its_settings_and_the_options_win(run, probe_pass: FakePass, script: Path) -> None:
    Path("pyproject.toml").write_text(
        '[tool.nndoctor]\nselect = ["ND101"]\n[tool.nndoctor.probe]\ndevice = "mps"\nseed = 5\neffort = "quick"\n',
        encoding="utf-8",
    )
    run("probe", "m:net", "--data", "m:data")
    run("probe", "m:net", "--data", "m:data", "--seed", "0", "--device", "cpu", "--effort", "normal")
    asked = [(request.device, request.seed, request.effort, request.select) for request in probe_pass.requests]
    assert asked == [("mps", 5, "quick", None), ("cpu", 0, "normal", None)]


@pytest.mark.parametrize("argument", ["hidden", "=3", "a b=3"])
def test_probe_refuses_an_argument_that_is_none(run, probe_pass: FakePass, script: Path, argument: str) -> None:
    status, _, err = run("probe", "m:net", "--data", "m:data", "--arg", argument)
    assert status == 2
    assert "write NAME=VALUE" in err


def test_probe_shows_progress_on_a_terminal_only(
    run, probe_pass: FakePass, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("probe", "m:net", "--data", "m:data")[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    err = run("probe", "m:net", "--data", "m:data")[2]
    assert "looking" in err
    assert err.endswith("\r\x1b[2K")


# Formats


def test_json_is_all_there_is_on_stdout(run, scan_pass: FakePass, script: Path) -> None:
    scan_pass.report = Report("scan", "train.py", (finding(Severity.WARNING), finding(Severity.ERROR)))
    status, out, err = run("scan", "train.py", "--output-format", "json")
    assert (status, err) == (1, "")
    assert [entry["severity"] for entry in json.loads(out)["findings"]] == ["error", "warning"]


def test_statistics_replace_the_findings(run, scan_pass: FakePass, script: Path) -> None:
    found = (finding(Severity.ERROR, "ND405"), finding(Severity.ERROR), finding(Severity.ERROR))
    scan_pass.report = Report("scan", "train.py", found)
    status, out, _ = run("scan", "train.py", "--statistics")
    assert status == 1
    assert [line.split() for line in out.splitlines()] == [
        ["2", "error", "ND101", "a-name"],
        ["1", "error", "ND405", "a-name"],
    ]


@pytest.mark.parametrize(
    ("options", "environment", "coloured"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "always"], {"TERM": "dumb"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour(
    run,
    scan_pass: FakePass,
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    environment: dict[str, str],
    coloured: bool,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in run("scan", "train.py", *options)[1]) == coloured


# help, version


def test_version(run) -> None:
    assert run("--version")[:2] == (0, f"nndoctor {nndoctor.__version__}\n")


COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("arguments", [["--help"], *([command, "-h"] for command in COMMANDS)])
def test_help(run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: nndoctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_shows_how_it_is_used(run, command: str) -> None:
    assert f"\n  nndoctor {command}" in run(command, "--help")[1]


def test_the_module_is_a_program() -> None:
    done = interpreter("-m", "nndoctor", "--version")
    assert (done.returncode, done.stdout) == (0, f"nndoctor {nndoctor.__version__}\n")


# Start-up


HEAVY = ("rich", "libcst", "torch", "numpy", "tomli", "pathspec", "nndoctor.findings")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["scan", "--help"], ["explain", "--help"]])
def test_starting_up_imports_nothing_heavy(arguments: list[str]) -> None:
    program = f"""
import sys
from nndoctor.cli import main
sys.argv = ["nndoctor", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    print([name for name in {HEAVY!r} if name in sys.modules], stop.code, file=sys.stderr)
"""
    assert interpreter("-c", program).stderr == "[] 0\n"


def test_rules_and_concise_reports_do_without_rich() -> None:
    program = """
import sys
from nndoctor.findings import Report
from nndoctor.report.output import Style, write
for format in ("concise", "json"):
    write(Report("scan", "train.py"), Style(format), sys.stdout)
from nndoctor.cli.catalogue import rules
rules()
print("rich" in sys.modules, file=sys.stderr)
"""
    assert interpreter("-c", program).stderr == "False\n"


# Streams


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_sentence_and_2() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from nndoctor.cli import main; main()", "rules"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])},
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_no_standard_output_is_no_crash() -> None:
    program = "import sys; sys.stdout = None; from nndoctor.cli import main; main()"
    assert interpreter("-W", "ignore::ResourceWarning", "-c", program, "rules").returncode == 0


def test_a_reader_that_stops_early_changes_nothing() -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); from nndoctor.cli import main; main()", "rules"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])},
    )
    assert writer.stdin
    assert writer.stdout
    assert writer.stderr
    writer.stdout.close()
    writer.stdin.close()
    with writer.stderr:
        assert writer.stderr.read() == b""
    assert writer.wait() == 0


def test_a_stream_without_braille_gets_question_marks() -> None:
    program = """
import sys
from nndoctor.cli import app, main
from nndoctor.cli.finish import stdout
@app.command()
def curve():
    with stdout() as stream:
        stream.write(chr(0x2809))
main()
"""
    done = interpreter("-c", program, "curve", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (done.returncode, done.stdout) == (0, "?")


# Both ends together

SICK = "from torch import nn\n\nlayer = nn.BatchNorm2d(64, 0.8)\n"


def test_a_sick_script_from_end_to_end(run, script: Path) -> None:
    Path("package").mkdir()
    Path("package/layers.py").write_text(SICK, encoding="utf-8")
    status, out, err = run("scan", "package", "train.py", "--output-format", "json")
    assert (status, err) == (1, "")
    report = json.loads(out)
    assert [(found["code"], found["path"], found["line"]) for found in report["findings"]] == [
        ("ND405", "package/layers.py", 3)
    ]
    assert report["summary"]["files"] == 2
    assert run("scan", "package", "--ignore", "ND405")[0] == 0


def test_stdin_from_end_to_end(run, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SICK.encode())))
    status, out, _ = run("scan", "-", "--stdin-filename", "package/layers.py", "--output-format", "concise")
    assert status == 1
    assert out.startswith("package/layers.py:3:")


def test_a_missing_entrypoint_from_end_to_end(run, script: Path) -> None:
    status, out, err = run("probe", "no_such_module:net", "--data", "no_such_module:data")
    assert (status, out) == (2, "")
    assert "no_such_module" in err
    assert err.count("\n") == 1
