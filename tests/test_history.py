"""The log of check-ups, and `nndoctor compare`: what got better or worse between two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from reports import BATCH_MIXED, FAILURES, NASTY_REPORT, OBEYED, PROBE, SCAN, SOFTMAX_TWICE

import nndoctor
from nndoctor.cli import main
from nndoctor.errors import UserError
from nndoctor.findings import Failure, Figure, Location, ProbeResult, Report
from nndoctor.history.checkups import read_checkup, read_pair
from nndoctor.history.comparison import Comparison, compare
from nndoctor.history.directions import DIRECTIONS, verdict
from nndoctor.history.log import append
from nndoctor.report.fingerprints import fingerprints

IDENTITY = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log in the working directory, which is in no repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path / "log.jsonl"


@pytest.fixture
def repository(log: Path) -> Path:
    """The folder of the log as a repository with one commit."""
    (log.parent / "train.py").write_text("import torch\n", encoding="utf-8")
    for command in ("init", "add train.py", "commit -m first"):
        git(log.parent, *command.split())
    return log.parent


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def compared(log: Path, before: Report, after: Report) -> Comparison:
    for report in (before, after):
        append(report, log)
    return compare(*read_pair(f"{log}:-2", str(log)))


def run(*arguments: str) -> int:
    """The exit status of the command line."""
    before, sys.argv = sys.argv, ["nndoctor", *arguments]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return int(ended.value.code or 0)


def nndoctor_process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nndoctor", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


# The log


def test_a_line_says_what_when_and_by_which_version(log: Path) -> None:
    append(SCAN, log)
    [line] = lines(log)
    written = datetime.strptime(str(line["date"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - written).total_seconds()) < 3600
    assert line["tool"] == {"name": "nndoctor", "version": nndoctor.__version__}
    assert line["summary"]["command"] == "scan"
    assert line["summary"]["target"] == "src"
    assert [finding["fingerprint"] for finding in line["findings"]] == fingerprints(SCAN.findings)
    assert [(finding["code"], finding["line"]) for finding in line["findings"]] == [("ND101", 60), ("ND101", 2)]
    assert line["git"] is None


def test_a_line_holds_every_measurement_and_no_curve(log: Path) -> None:
    measured = ProbeResult("NDP03", "overfit-batch", "ok", "fell", {"final loss": float("nan"), "steps": 60})
    append(replace(PROBE, probes=(measured,)), log)
    [line] = lines(log)
    assert line["probes"] == [
        {
            "code": "NDP03",
            "name": "overfit-batch",
            "status": "ok",
            "measurements": {"final loss": "nan", "steps": 60},
            "seconds": 0.0,
        }
    ]
    assert line["findings"][0]["measurements"] == {"influence": 0.61234, "worst": "inf"}


@pytest.mark.usefixtures("repository")
def test_a_line_names_the_commit_and_whether_the_tree_is_dirty(log: Path) -> None:
    append(SCAN, log)
    Path("train.py").write_text("import torch, os\n", encoding="utf-8")
    append(SCAN, log)
    commit = git(log.parent, "rev-parse", "HEAD").strip()
    assert [line["git"] for line in lines(log)] == [
        {"commit": commit, "dirty": False},
        {"commit": commit, "dirty": True},
    ]


def test_a_log_that_is_committed_does_not_make_the_tree_dirty(log: Path, repository: Path) -> None:
    append(SCAN, log)
    git(repository, "add", "log.jsonl")
    git(repository, "commit", "-m", "the log")
    append(SCAN, log)
    append(SCAN, log)
    assert [line["git"]["dirty"] for line in lines(log)] == [False, False, False]


def test_git_starts_nothing_that_the_repository_names(log: Path, repository: Path) -> None:
    (repository / "watch").write_text("#!/bin/sh\ntouch started\n", encoding="utf-8")
    (repository / "watch").chmod(0o755)
    git(repository, "config", "core.fsmonitor", "./watch")
    append(SCAN, log)
    assert lines(log)[0]["git"] is not None
    assert not (repository / "started").exists()


def test_no_git_is_no_problem(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    append(SCAN, log)
    assert lines(log)[0]["git"] is None


def test_half_a_line_does_not_spoil_the_next(log: Path) -> None:
    append(SCAN, log)
    log.write_bytes(log.read_bytes()[:-20])
    append(SCAN, log)
    append(SCAN, log)
    assert [line.endswith("}") for line in log.read_text(encoding="utf-8").splitlines()] == [False, True, True]
    assert compare(*read_pair(str(log), None)).worse == 0


def test_concurrent_runs_leave_whole_lines(log: Path) -> None:
    many = "SCAN.__class__('scan', 'x' * 20_000, SCAN.findings * 200)"
    script = "from reports import SCAN\nfrom nndoctor.history.log import append\nfrom pathlib import Path\n"
    script += f"for _ in range(10): append({many}, Path({str(log)!r}))"
    paths = os.pathsep.join((str(Path(nndoctor.__file__).parents[1]), str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": paths}
    runs = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert [len(line["findings"]) for line in lines(log)] == [400] * 30


def test_both_commands_append_and_the_exit_status_stays(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.parent / "train.py").write_text("import torch\ntorch.nn.BatchNorm1d(3, 0.9)\n", encoding="utf-8")
    done = nndoctor_process("scan", "train.py", "--log", "log.jsonl", folder=log.parent)
    assert (done.returncode, done.stderr) == (1, "")
    monkeypatch.setattr("nndoctor.probe.checkup", SimpleNamespace(checkup=lambda *_: PROBE), raising=False)
    assert run("probe", "train.py:net", "--data", "train.py:data", "--log", "log.jsonl") == 2
    assert [line["summary"]["command"] for line in lines(log)] == ["scan", "probe"]
    assert [finding["code"] for finding in lines(log)[0]["findings"]] == ["ND405"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--log", "missing/log.jsonl"), "the folder missing of the report log.jsonl does not exist"),
        (("--log", "train.py"), "train.py is a script"),
        (("--log", "."), ". is a folder"),
        (("--log", "a.json", "--output-format", "json=a.json"), "two reports cannot share one file"),
        (("--log", "log.jsonl", "--diff"), "--diff shows what would change and writes no report"),
    ],
)
def test_a_log_that_cannot_be_is_refused_before_the_work(arguments: tuple[str, ...], sentence: str, log: Path) -> None:
    (log.parent / "train.py").write_text("import torch\n", encoding="utf-8")
    done = nndoctor_process("scan", "train.py", *arguments, folder=log.parent)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not log.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(UserError, match="cannot append to /dev/full: No space left on device"):
        append(SCAN, Path("/dev/full"))


# Which check-ups


def test_a_line_is_named_by_its_number(log: Path) -> None:
    for files in range(3):
        append(replace(SCAN, target=f"src{files}"), log)
    named = ("", ":1", ":2", ":3", ":-1", ":-3")
    assert [read_checkup(f"{log}{end}").target[-1] for end in named] == ["2", "0", "1", "2", "2", "0"]


def test_a_file_whose_name_ends_like_a_number_is_a_file(log: Path) -> None:
    append(SCAN, Path("log:2"))
    assert read_checkup("log:2").target == "src"


def test_one_log_alone_gives_the_last_two_of_one_target(log: Path) -> None:
    for report in (SCAN, replace(SCAN, files=9), PROBE, replace(SCAN, target="other"), SCAN):
        append(report, log)
    before, after = read_pair(str(log), None)
    assert (before.source, after.source) == (f"{log}:2", f"{log}:5")


def test_a_json_report_is_a_check_up(log: Path) -> None:
    from nndoctor.report.json import render

    report = log.with_suffix(".json")
    report.write_text(render(SCAN), encoding="utf-8")
    append(replace(SCAN, findings=()), log)
    assert len(compare(*read_pair(str(report), str(log))).gone) == 2
    assert read_checkup(str(report)).date is None


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (("missing",), "missing: cannot read it: No such file or directory"),
        (("missing:3",), "missing: cannot read it: No such file or directory"),
        (("log.jsonl",), "is one check-up: name another one"),
        (("log.jsonl:1",), "is one check-up: name another one"),
        (("log.jsonl:0", "log.jsonl"), "has the lines 1 to 1, and -1 is the last of them"),
        (("log.jsonl:-2", "log.jsonl"), "has the lines 1 to 1, and -1 is the last of them"),
        (("text", "log.jsonl"), "text is no check-up: write one with --log"),
        (("deep", "log.jsonl"), "deep is no check-up: write one with --log"),
        (("empty", "log.jsonl"), "empty is no check-up: write one with --log"),
        (("number", "log.jsonl"), "number is no check-up of this nndoctor: write it anew"),
        (("object", "log.jsonl"), "object is no check-up of this nndoctor: write it anew"),
        (("old", "log.jsonl"), "old is no check-up of this nndoctor without fingerprint: write it anew"),
        (("bytes", "log.jsonl"), "bytes: cannot read it: 'utf-8' codec can't decode"),
        ((".", "log.jsonl"), ".: cannot read it: Is a directory"),
    ],
)
def test_what_is_no_check_up_is_told_in_one_sentence(
    named: tuple[str, ...], sentence: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(SCAN, log)
    [entry] = lines(log)
    del entry["findings"][0]["fingerprint"]
    texts = {
        "text": "hello",
        "deep": "[" * 100_000,
        "empty": "",
        "number": "3",
        "object": "{}",
        "old": json.dumps(entry),
    }
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("bytes").write_bytes(b"\xff")
    assert run("compare", *named) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_check_ups_that_are_no_pair_are_told(log: Path) -> None:
    append(SCAN, log)
    append(PROBE, log)
    with pytest.raises(UserError, match=r"has no earlier `nndoctor probe` of train\.py:net: name two lines"):
        read_pair(str(log), None)
    with pytest.raises(UserError, match="compare two of a kind"):
        compare(*read_pair(f"{log}:1", f"{log}:2"))


# What changed


def test_a_finding_is_new_gone_or_unchanged(log: Path) -> None:
    moved = replace(SOFTMAX_TWICE, location=Location("src/train.py", 90, 26))
    other = replace(SOFTMAX_TWICE, code="ND103")
    found = compared(log, replace(SCAN, findings=(SOFTMAX_TWICE, BATCH_MIXED)), replace(SCAN, findings=(moved, other)))
    assert [it.code for it in found.new] == ["ND103"]
    assert [it.code for it in found.gone] == ["NDP04"]
    assert [(it.code, it.place) for it in found.unchanged] == [("ND101", "src/train.py:90:26")]
    assert (found.worse, found.better) == (1, 1)


def test_what_could_not_be_examined_is_not_called_gone(log: Path) -> None:
    broken = Report("scan", "src", failures=(Failure("cannot parse it", "ND001", Location("src/train.py", 1)),))
    found = compared(log, replace(SCAN, findings=(SOFTMAX_TWICE,)), broken)
    assert [it.code for it in found.unexamined] == ["ND101"]
    assert [it.code for it in found.failed] == ["ND001"]
    assert (found.gone, found.worse, found.better) == ((), 1, 0)
    assert compare(found.after, found.before).better == 1


@pytest.mark.parametrize(("status", "gone"), [("ok", 1), ("failed", 0), ("skipped", 0), (None, 0)])
def test_a_probe_s_finding_is_gone_only_where_the_probe_ran(status: str | None, gone: int, log: Path) -> None:
    probes = () if status is None else (ProbeResult("NDP04", "gradient-isolation", status, ""),)
    found = compared(log, PROBE, replace(PROBE, findings=(), probes=probes))
    assert (len(found.gone), len(found.unexamined)) == (gone, 1 - gone)
    assert found.failed == ()


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("code", "name", "before", "after", "expected"),
    [
        ("NDP03", "final loss", 1.27, 0.02, "better"),
        ("NDP03", "final loss", 0.02, 1.27, "worse"),
        ("NDP03", "final loss", 0.0004, 0.02, None),  # learned both times
        ("NDP03", "final loss", 1.27, 1.3, None),
        ("NDP03", "final loss", 1.27, INF, "worse"),
        ("NDP03", "final loss", INF, INF, None),
        ("NDP03", "accuracy", 1, 0.5, "worse"),
        ("NDP04", "off_diagonal", 0.0, 1e-5, None),
        ("NDP04", "off_diagonal", 0, 0.6, "worse"),
        ("NDP01", "initial loss", 2.30, 4.0, "moved"),
        ("NDP01", "initial loss", 2.30, 2.31, None),
        ("NDP01", "initial loss", 2.30, NAN, "worse"),
        ("NDP01", "initial loss", NAN, 2.30, "better"),
        ("NDP01", "initial loss", NAN, NAN, None),
        ("NDP20", "batch norm refuses one example", False, True, "moved"),
        ("NDP05", "operation", "view", None, "moved"),
        ("NDP05", "operation", "view", "view", None),
    ],
)
def test_a_measurement_gets_better_or_worse(
    code: str, name: str, before: Figure, after: Figure, expected: str | None
) -> None:
    assert verdict(code, name, before, after) == expected


def test_every_direction_is_of_a_measurement_that_there_is() -> None:
    probes = Path(nndoctor.__file__).parent / "probe" / "probes"
    texts = [path.read_text(encoding="utf-8") for path in probes.glob("*.py")]
    for code, name in DIRECTIONS:
        assert any(f'@probe("{code}")' in text and f'"{name}"' in text for text in texts), (code, name)


def test_measurements_are_compared_by_probe(log: Path) -> None:
    def measured(loss: float, rate: float) -> Report:
        probes = (
            ProbeResult("NDP03", "overfit-batch", "ok", "", {"final loss": loss, "steps": 60}),
            ProbeResult("NDP06", "lr-range", "ok", "", {"suggested rate": rate}),
        )
        return Report("probe", "m:net", (), probes)

    found = compared(log, measured(1.5, 1e-3), measured(0.01, 1e-2))
    assert [(it.measurement, it.before, it.after, it.verdict) for it in found.moves] == [
        ("final loss", 1.5, 0.01, "better"),
        ("suggested rate", 1e-3, 1e-2, "moved"),
    ]
    assert (found.worse, found.better) == (0, 1)
    assert (compare(found.after, found.before).worse, compare(found.before, found.before).moves) == (1, ())


def test_other_targets_and_versions_are_noted(log: Path) -> None:
    append(SCAN, log)
    old = log.read_text(encoding="utf-8").replace(nndoctor.__version__, "0.0.1").replace('"src"', '"lib"')
    log.write_text(old, encoding="utf-8")
    append(SCAN, log)
    assert compare(*read_pair(f"{log}:1", f"{log}:2")).notes == (
        "the targets differ: `lib` and `src`",
        f"nndoctor was 0.0.1 and is {nndoctor.__version__}: a finding may be new because its rule is",
    )


# What is printed


def test_it_says_so_to_people_and_exits_with_the_verdict(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(replace(SCAN, findings=()), log)
    append(SCAN, log)
    assert run("compare", "log.jsonl", "--color", "never") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["nndoctor", "compare", "2", "worse,", "0", "better"]
    assert "new         error: src/train.py:60:26: ND101 `outputs` is a softmax (model.py:31)\n" in out
    assert run("compare", "log.jsonl:2", "log.jsonl:1", "--color", "never") == 0
    assert "gone        error: src/train.py:60:26" in capsys.readouterr().out
    assert run("compare", "log.jsonl:2", "log.jsonl:2", "--color", "never") == 0
    assert capsys.readouterr().out.endswith("\n\n2 findings as before.\n")


def test_concise_has_a_line_for_each_change(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(
        replace(PROBE, findings=(), failures=(), probes=(ProbeResult("NDP03", "a", "ok", "", {"final loss": 0.1}),)),
        log,
    )
    again = (ProbeResult("NDP03", "a", "ok", "", {"final loss": 2.30259}),)
    append(replace(PROBE, failures=FAILURES[:1], probes=again), log)
    assert run("compare", "log.jsonl", "--output-format", "concise") == 1
    assert capsys.readouterr().out.splitlines() == [
        "new: warning: NDP04 output 0 depends on examples 1 to 7",
        "failed: bad.py:3:7: ND001 cannot parse it",
        "worse: NDP03 a: final loss 0.1 -> 2.303",
    ]
    assert run("compare", "log.jsonl:1", "log.jsonl:1", "--output-format", "concise") == 0
    assert capsys.readouterr().out == ""


def test_json_holds_all_of_it(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(SCAN, log)
    append(replace(SCAN, findings=SCAN.findings[:1]), log)
    assert run("compare", "log.jsonl", "--output-format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["summary"] == {"worse": 0, "better": 1, "notes": []}
    assert document["before"]["source"] == "log.jsonl:1"
    assert [it["code"] for it in document["unchanged"]] == ["ND101"]
    assert [it["path"] for it in document["gone"]] == ["a.ipynb"]


@pytest.mark.parametrize("output_format", ["full", "concise", "json"])
def test_nothing_hostile_of_a_check_up_is_obeyed(
    output_format: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(replace(NASTY_REPORT, findings=(), failures=()), log)
    append(NASTY_REPORT, log)
    assert run("compare", f"{log.name}:1", log.name, "--output-format", output_format, "--color", "never") == 1
    out = capsys.readouterr().out
    assert "bold" in out
    assert not set(OBEYED) & set(out)
    if output_format == "json":
        assert json.loads(out)["summary"]["worse"] == 3
