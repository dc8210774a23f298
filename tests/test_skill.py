"""The skill for coding agents says what is so: its commands, options, fields and codes exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from reports import PROBE, SCAN

from nndoctor.catalog import rule_names
from nndoctor.cli import app
from nndoctor.cli.skill import SKILL
from nndoctor.findings import Confidence, Severity
from nndoctor.report.json import document

TEXT = (Path(__file__).parents[1] / SKILL).read_text(encoding="utf-8")
_, FRONT, BODY = TEXT.split("---\n", 2)
COMMANDS = {command.callback.__name__ for command in app.registered_commands if command.callback}
LONGEST_DESCRIPTION = 1024  # characters, by the specification of agent skills


def test_the_front_matter_is_what_agents_look_for() -> None:
    front = yaml.safe_load(FRONT)
    assert set(front) == {"name", "description"}
    assert front["name"] == Path(SKILL).parent.name == "nndoctor"
    assert 0 < len(front["description"]) <= LONGEST_DESCRIPTION


def test_its_commands_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    named = set(re.findall(r"`nndoctor ([a-z]+)", TEXT))
    assert {"scan", "probe", "explain", "compare"} <= named <= COMMANDS
    for command in COMMANDS:
        app([command, "--help"], standalone_mode=False)
    options = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert "--output-format" in options
    assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_its_fields_are_those_of_the_json_report() -> None:
    section = BODY.partition("The JSON document has\n")[2].partition("\nAdvice")[0]
    named = set(re.findall(r"`(\w+)`", section))
    scan, probe = document(SCAN), document(PROBE)
    [finding, *_] = scan["findings"]
    parts = (scan, scan["summary"], finding, finding["fix"], probe["probes"][0], probe["failures"][0])
    values = {*(it.value for it in Severity), *(it.value for it in Confidence), "ok", "finding", "failed", "skipped"}
    assert named - values - {"null"} <= set().union(*parts)
    assert finding.keys() <= named


def test_its_codes_and_families_are_those_of_the_catalogue() -> None:
    codes = set(re.findall(r"\bNDP?\d{2,3}\b", TEXT))
    assert codes <= set(rule_names())
    families = re.findall(r"^\| (ND\w)xx \|", TEXT, re.MULTILINE)
    assert families == sorted({code[:3] for code in rule_names()})


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    app(["skill"], standalone_mode=False)
    assert capsys.readouterr().out == TEXT
