"""SARIF, and the fingerprints that it shares with the report for GitLab."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from reports import BATCH_MIXED, CLEAN, FAILURES, IN_A_CELL, NASTY_REPORT, OBEYED, PROBE, SCAN, SOFTMAX_TWICE

from nndoctor.findings import Finding, Location, Report
from nndoctor.report import sarif
from nndoctor.report.fingerprints import fingerprints

# Fingerprints


def moved(finding: Finding, by: int) -> Finding:
    assert finding.location
    assert finding.source_line
    location = replace(finding.location, line=finding.location.line + by)
    message = finding.message.replace("31", str(31 + by))
    return replace(finding, location=location, message=message, source_line=f"    {finding.source_line}")


def test_a_fingerprint_survives_a_shift_of_lines() -> None:
    assert fingerprints([moved(SOFTMAX_TWICE, by=7)]) == fingerprints([SOFTMAX_TWICE])


def test_a_fingerprint_of_a_probe_survives_other_figures() -> None:
    other = replace(BATCH_MIXED, evidence=(), message="output 0 depends on examples 1 to 9.5")
    assert fingerprints([other]) == fingerprints([replace(BATCH_MIXED, evidence=())])


def test_a_cell_above_changes_no_fingerprint() -> None:
    below = replace(IN_A_CELL, location=Location("a.ipynb", 2, 7, cell=5))
    assert fingerprints([below]) == fingerprints([IN_A_CELL])


def test_fingerprints_tell_findings_apart() -> None:
    here = SOFTMAX_TWICE
    others = [
        here,  # a second one on a line that reads the same
        replace(here, code="ND103"),
        replace(here, location=Location("other.py", 60)),
        replace(here, source_line="loss = criterion(outputs, z)"),
        *FAILURES,
    ]
    prints = fingerprints([here, *others])
    assert len(set(prints)) == len(prints)


# SARIF


def sarif_run(report: Report) -> dict[str, Any]:
    document = json.loads(sarif.render(report))
    schema = json.loads((Path(__file__).parent / "sarif-schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(document)
    [run] = document["runs"]
    return run


@pytest.mark.parametrize("report", [SCAN, PROBE, CLEAN, NASTY_REPORT], ids=["scan", "probe", "clean", "nasty"])
def test_sarif_is_valid_and_refers_to_its_rules(report: Report) -> None:
    run = sarif_run(report)
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [x.code for x in report.findings]
    assert all(character not in json.dumps(run, ensure_ascii=False) for character in OBEYED)


def test_sarif_of_a_finding() -> None:
    result = sarif_run(SCAN)["results"][0]
    assert result["level"] == "error"
    assert (
        result["message"]["text"] == "`outputs` is a softmax (model.py:31)\n\nReturn `self.head(x)` from Net.forward."
    )
    [location] = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "src/train.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 60, "startColumn": 26, "endLine": 60, "endColumn": 33},
        "contextRegion": {"startLine": 60, "snippet": {"text": "        loss = criterion(outputs, y)"}},
    }


def test_sarif_has_the_path_that_proves_a_finding_and_ends_at_it() -> None:
    [flow] = sarif_run(SCAN)["results"][0]["codeFlows"]
    steps = [step["location"] for step in flow["threadFlows"][0]["locations"]]
    assert [step["message"]["text"] for step in steps][:2] == ["softmax here", "returned here"]
    assert [step["physicalLocation"]["region"]["startLine"] for step in steps] == [31, 58, 60]


def test_sarif_has_the_fix() -> None:
    [fix] = sarif_run(SCAN)["results"][0]["fixes"]
    [change] = fix["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "model.py"
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 31, "startColumn": 16, "endLine": 31, "endColumn": 46},
            "insertedContent": {"text": "self.head(x)"},
        }
    ]


def test_sarif_knows_no_lines_of_a_notebook() -> None:
    result = sarif_run(SCAN)["results"][1]
    [location] = result["locations"]
    assert "region" not in location["physicalLocation"]
    assert location["logicalLocations"] == [{"fullyQualifiedName": "cell 4, line 2"}]
    assert "fixes" not in result


def test_sarif_explains_the_rules_that_found_something() -> None:
    [rule] = sarif_run(SCAN)["tool"]["driver"]["rules"]
    assert (rule["id"], rule["name"]) == ("ND101", "softmax-into-cross-entropy")
    assert rule["defaultConfiguration"] == {"level": "error"}
    assert "log-softmax" in rule["help"]["text"]
    assert "```python" in rule["help"]["markdown"]


def test_sarif_of_a_probe() -> None:
    run = sarif_run(PROBE)
    [result] = run["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 44
    assert "off-diagonal influence 0.61" in result["message"]["text"]
    assert result["properties"]["measurements"] == {"influence": 0.61234, "worst": "inf"}
    [invocation] = run["invocations"]
    assert invocation["executionSuccessful"] is False
    *failures, note = invocation["toolExecutionNotifications"]
    assert [failure["descriptor"]["id"] for failure in failures] == ["ND001", "NDP03"]
    assert (note["level"], note["message"]["text"]) == ("note", "loss: `nn.MSELoss`")


def test_sarif_of_a_finding_without_a_place() -> None:
    nowhere = replace(BATCH_MIXED, evidence=())
    assert sarif_run(replace(PROBE, findings=(nowhere,)))["results"][0]["locations"] == []


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a b#c?.py", "a%20b%23c%3F.py"),
        ("a:b.py", "a%3Ab.py"),
        ("损失.py", "%E6%8D%9F%E5%A4%B1.py"),
        ("/tmp/a.py", "file:///tmp/a.py"),
        ("C:/a.py", "file:///C:/a.py"),
    ],
)
def test_sarif_paths_are_uris(path: str, uri: str) -> None:
    finding = replace(SOFTMAX_TWICE, location=Location(path, 1), evidence=())
    [location] = sarif_run(replace(SCAN, findings=(finding,)))["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_takes_code_for_no_link() -> None:
    finding = replace(SOFTMAX_TWICE, message="`heads[i](x)` and `x[0]`")
    text = sarif_run(replace(SCAN, findings=(finding,)))["results"][0]["message"]["text"]
    assert text.startswith("`heads\\[i](x)` and `x[0]`")
