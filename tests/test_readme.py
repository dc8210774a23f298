"""The README says what is so: its catalogue, its picture, its options, and the commands that .ci/run takes from it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import generate
import pytest

from nndoctor.cli import app
from nndoctor.config import KEYS, PROBE_KEYS, entries, load_settings
from nndoctor.findings import Confidence, Evidence, Failure, Finding, Fix, ProbeResult, Report, Series, Severity
from nndoctor.history.checkups import Checkup
from nndoctor.history.comparison import compare
from nndoctor.layers import read_layers
from nndoctor.report.comparisons import to_json
from nndoctor.report.json import render

TEXT = generate.README.read_text(encoding="utf-8")


COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]
OF_OTHERS = {"--nproc-per-node", "--dist"}  # options of torchrun and pytest


def block(before: str) -> str:
    """The fenced block that follows the text `before`."""
    match = re.search(re.escape(before) + r".*?^```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert match
    return match[1]


def test_the_catalogue_is_the_one_in_rules() -> None:
    _, _, rest = TEXT.partition(generate.BEGIN)
    assert rest.partition(generate.END)[0].strip() == generate.catalogue(), "run python tests/generate.py"


def test_the_settings_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "shared.toml").touch()
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(block("### Settings"), encoding="utf-8")
    settings = load_settings(project)
    assert settings.select
    assert settings.per_file_ignores
    assert {key for *_, key in entries(read_layers(project))} >= KEYS.keys() | PROBE_KEYS.keys(), "each is documented"


def test_the_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], *([name] for name in COMMANDS)):
        app([*command, "--help"], standalone_mode=False)
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT.partition("## Work on it")[0]))
    assert "--select" in used
    assert used - OF_OTHERS <= known


def test_the_json_form_is_documented() -> None:
    finding = Finding(
        *("ND101", "name", Severity.ERROR, Confidence.CERTAIN, "message", "treatment"),
        evidence=(Evidence("step"),),
        fix=Fix("message", (), safe=True),
    )
    probe = ProbeResult("NDP01", "name", "ok", "summary", series={"loss": Series((1.0,), "loss")})
    document = json.loads(render(Report("scan", "a.py", (finding,), (probe,), (Failure("message"),))))
    _, _, section = TEXT.partition("### JSON")
    rows = dict(re.findall(r"^\| `([\w\[\].]+)` \| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE))
    parts = {
        "tool": document["tool"],
        "summary": document["summary"],
        "summary.not_examined": document["summary"]["not_examined"],
        "findings": document["findings"][0],
        "findings[].evidence": document["findings"][0]["evidence"][0],
        "findings[].fix": document["findings"][0]["fix"],
        "probes": document["probes"][0],
        "probes[].series": document["probes"][0]["series"]["loss"],
        "failures": document["failures"][0],
    }
    assert rows.keys() == parts.keys() | {"version"}
    for name, part in parts.items():
        documented = set(re.findall(r"`(\w+)`", rows[name])) - {"ok", "finding", "failed", "skipped"}
        assert documented == part.keys(), name


def test_the_json_form_of_a_comparison_is_documented() -> None:
    checkup = Checkup("log:1", "scan", "src", "1", (), (), ())
    section = TEXT.partition("### History")[2].partition("### ")[0].partition("`--output-format json` has")[2]
    assert set(re.findall(r"`(\w+)`", section)) == json.loads(to_json(compare(checkup, checkup))).keys()


def test_the_picture_is_the_report() -> None:
    def text(svg: str) -> list[str]:
        return [html.unescape(line) for line in re.findall(r"<text[^>]*>(.*?)</text>", svg)]

    picture = generate.PICTURE.read_text(encoding="utf-8")
    assert text(picture) == text(generate.picture()), "run python tests/generate.py"
    assert "url(http" not in picture
