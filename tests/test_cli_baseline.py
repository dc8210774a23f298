"""`nndoctor scan --baseline` and `--update-baseline`: what is left out, what is stale, what the file looks like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

IMPORT = "from torch import nn\n"
SICK = "norm = nn.BatchNorm1d(8, 0.8)\n"
OTHER = "other = nn.BatchNorm2d(64, 0.8)\n"
FILE = "old.json"


@pytest.fixture
def scan(run):
    """`nndoctor scan --baseline old.json` in a folder with a sick script: exit status, places found, notes."""
    Path("net.py").write_text(IMPORT + SICK, encoding="utf-8")

    def scanned(*arguments: str) -> tuple[int | None, list[str], list[str]]:
        status, out, err = run("scan", "--baseline", FILE, "--output-format", "json", *arguments)
        if not out:
            return status, [], [err]
        report = json.loads(out)
        places = [f"{found['path']}:{found['line']} {found['code']}" for found in report["findings"]]
        return status, places, report["summary"]["notes"]

    return scanned


def listed() -> list[dict[str, object]]:
    document = json.loads(Path(FILE).read_text(encoding="utf-8"))
    assert document["version"] == 1
    return [{key: value for key, value in row.items() if key != "fingerprint"} for row in document["findings"]]


def test_old_findings_are_left_out_and_new_ones_are_not(scan) -> None:
    assert scan("--update-baseline") == (0, [], ["old.json lists 1 finding now, 0 before"])
    assert scan() == (0, [], ["1 finding of old.json left out"])
    Path("net.py").write_text(IMPORT + SICK + OTHER, encoding="utf-8")
    assert scan() == (1, ["net.py:3 ND405"], ["1 finding of old.json left out"])


def test_an_old_finding_is_known_again_where_it_has_moved(scan) -> None:
    scan("--update-baseline")
    Path("net.py").write_text(f"{IMPORT}\nif flag:\n    {SICK}", encoding="utf-8")
    assert scan()[:2] == (0, [])


def test_a_second_copy_of_an_old_finding_is_new(scan) -> None:
    scan("--update-baseline")
    Path("net.py").write_text(IMPORT + SICK + "\n" + SICK, encoding="utf-8")
    assert scan()[:2] == (1, ["net.py:4 ND405"])
    assert scan("--update-baseline")[2] == ["old.json lists 2 findings now, 1 before"]
    assert [row["count"] for row in listed()] == [2]
    assert scan()[:2] == (0, [])


def test_another_file_with_the_same_line_is_new(scan) -> None:
    scan("--update-baseline")
    Path("copy.py").write_text(IMPORT + SICK, encoding="utf-8")
    assert scan()[:2] == (1, ["copy.py:2 ND405"])


def test_what_is_no_longer_found_is_stale_until_the_file_is_updated(scan) -> None:
    Path("net.py").write_text(IMPORT + SICK + SICK + OTHER, encoding="utf-8")
    scan("--update-baseline")
    Path("net.py").write_text(IMPORT + SICK, encoding="utf-8")
    stale = "old.json is stale: 2 of its findings are no longer found; --update-baseline takes them out"
    assert scan() == (0, [], ["1 finding of old.json left out", stale])
    assert scan("--update-baseline")[2] == ["old.json lists 1 finding now, 3 before"]
    assert scan()[2] == ["1 finding of old.json left out"]


def test_a_file_that_is_gone_leaves_stale_entries(scan) -> None:
    scan("--update-baseline")
    Path("net.py").rename("model.py")
    status, places, notes = scan("model.py")
    assert (status, places) == (1, ["model.py:2 ND405"])
    assert notes == ["old.json is stale: 1 of its findings is no longer found; --update-baseline takes them out"]


@pytest.mark.parametrize("arguments", [["other.py"], ["--select", "ND1"], ["--ignore", "ND405"]])
def test_what_a_scan_does_not_look_for_is_not_stale(scan, arguments: list[str]) -> None:
    scan("--update-baseline")
    Path("net.py").write_text(IMPORT, encoding="utf-8")
    Path("other.py").write_text(IMPORT, encoding="utf-8")
    assert scan(*arguments) == (0, [], [])
    assert scan(*arguments, "--update-baseline")[2] == ["old.json lists 1 finding now, 1 before"]
    assert scan()[2][0].startswith("old.json is stale")


def test_a_finding_that_another_file_brings_out_is_not_stale_without_that_file(scan) -> None:
    Path("net.py").write_text(
        "import torch.nn.functional as F\ndef step(z, y): return F.cross_entropy(z, y)\n", encoding="utf-8"
    )
    Path("main.py").write_text("import torch\nfrom net import step\nstep(torch.softmax(x, 1), y)\n", encoding="utf-8")
    assert scan("--update-baseline")[2] == ["old.json lists 1 finding now, 0 before"]
    assert scan("net.py") == (0, [], [])
    assert scan("net.py", "--update-baseline")[2] == ["old.json lists 1 finding now, 1 before"]


def test_a_file_that_cannot_be_parsed_keeps_its_entries(scan) -> None:
    scan("--update-baseline")
    Path("net.py").write_text(IMPORT + SICK + "def f(:\n", encoding="utf-8")
    status, places, notes = scan("--update-baseline")
    assert (status, places, notes) == (2, ["net.py:3 ND001"], ["old.json lists 1 finding now, 1 before"])


def test_advice_is_listed_as_such_and_only_looked_for_when_asked(scan) -> None:
    Path("net.py").write_text(
        "from torch import nn\nnet = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n", encoding="utf-8"
    )
    assert scan("--pedantic")[2] != []
    scan("--pedantic", "--update-baseline")
    assert [(row["code"], row["advice"]) for row in listed()] == [("ND401", True)]
    assert scan() == (0, [], [])
    assert scan("--pedantic")[:2] == (0, [])


def test_the_file_is_made_for_diffs(scan) -> None:
    Path("a").mkdir()
    Path("a/net.py").write_text(IMPORT + OTHER + SICK, encoding="utf-8")
    scan("--update-baseline")
    text = Path(FILE).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if "fingerprint" in line]
    assert [json.loads(row.rstrip(","))["path"] for row in rows] == ["a/net.py", "a/net.py", "net.py"]
    assert text.endswith("}\n")
    scan("--update-baseline")
    assert Path(FILE).read_text(encoding="utf-8") == text


def test_paths_are_those_from_the_file(scan, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("src").mkdir()
    Path("net.py").rename("src/net.py")
    scan("--update-baseline")
    monkeypatch.chdir("src")
    assert scan("--baseline", "../old.json")[:2] == (0, [])


def test_the_baseline_is_a_setting_too(scan, run) -> None:
    scan("--update-baseline")
    Path("nndoctor.toml").write_text('baseline = "old.json"\n', encoding="utf-8")
    assert run("scan", "--output-format", "concise") == (0, ".: note: 1 finding of old.json left out\n", "")


def test_what_is_left_after_fixes_is_compared(scan) -> None:
    scan("--update-baseline")
    status, places, notes = scan("--fix")
    assert (status, places) == (0, [])
    assert notes[0] == "fixed 1 finding in 1 file"
    assert notes[1].startswith("old.json is stale: 1 of its findings")


def test_a_baseline_in_a_folder_beside_the_code_covers_it_all(scan) -> None:
    Path("ci").mkdir()
    Path("src").mkdir()
    Path("net.py").rename("src/net.py")
    options = ("--baseline", "ci/old.json")
    assert scan("src", "ci", *options, "--update-baseline")[0] == 0
    Path("src/net.py").write_text(IMPORT, encoding="utf-8")
    assert scan("ci", *options) == (0, [], [])
    assert scan("src", *options) == (0, [], [])
    assert scan(".", *options)[2][0].startswith("old.json is stale")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "there is no baseline old.json yet: --update-baseline makes it"),
        ("<<<<<<< HEAD", "old.json is no baseline of this version: delete it"),
        ("[]", "old.json is no baseline"),
        ('{"version": 1, "scanned": [], "findings": [{"path": "net.py"}]}', "old.json is no baseline"),
        ('{"version": 2, "scanned": [], "findings": []}', "old.json is no baseline of this version"),
    ],
)
def test_what_is_no_baseline_is_2(scan, text: str | None, complaint: str) -> None:
    if text is not None:
        Path(FILE).write_text(text, encoding="utf-8")
    status, _, (said,) = scan()
    assert status == 2
    assert complaint in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--update-baseline", "--fix"], "run it after --fix or --add-ignore"),
        (["--update-baseline", "--baseline", "gone/old.json"], "the folder gone of the baseline old.json does not"),
    ],
)
def test_what_does_not_go_together_is_2(scan, arguments: list[str], complaint: str) -> None:
    status, _, (said,) = scan(*arguments)
    assert (status, complaint in said) == (2, True)


def test_without_a_file_there_is_nothing_to_update(run) -> None:
    status, _, err = run("scan", "--update-baseline")
    assert (status, "name it with --baseline FILE" in err) == (2, True)
