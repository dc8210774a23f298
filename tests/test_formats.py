"""The formats for other programs, on reports made by hand: what they hold, and that user text is harmless in them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from nndoctor.findings import (
    Confidence,
    Edit,
    Evidence,
    Failure,
    Finding,
    Fix,
    Location,
    ProbeResult,
    Report,
    Severity,
)
from nndoctor.report import github, gitlab, junit, markdown, sarif
from nndoctor.report.fingerprints import fingerprints

SOFTMAX_TWICE = Finding(
    code="ND101",
    name="softmax-into-cross-entropy",
    severity=Severity.ERROR,
    confidence=Confidence.CERTAIN,
    message="`outputs` is a softmax (model.py:31)",
    treatment="Return `self.head(x)`\nfrom Net.forward.",
    location=Location("src/train.py", 60, 26, 60, 33),
    source_line="        loss = criterion(outputs, y)",
    evidence=(
        Evidence("softmax here", Location("model.py", 31, 16), "        return F.softmax(self.head(x), dim=1)"),
        Evidence("returned here", Location("src/train.py", 58, 9), "        outputs = net(x)"),
    ),
    fix=Fix("remove the softmax", (Edit(Location("model.py", 31, 16, 31, 46), "self.head(x)"),), safe=True),
)
BATCH_MIXED = Finding(
    code="NDP04",
    name="gradient-isolation",
    severity=Severity.WARNING,
    confidence=Confidence.LIKELY,
    message="output 0 depends on examples 1 to 7",
    treatment="x.permute(1, 0, 2)",
    evidence=(
        Evidence("first operation that mixes them", Location("model.py", 44, 9), "    x = x.view(T, B, D)"),
        Evidence("off-diagonal influence 0.61 of the diagonal"),
    ),
    measurements={"influence": 0.61234, "worst": float("inf")},
)
IN_A_CELL = replace(
    SOFTMAX_TWICE,
    severity=Severity.INFO,
    location=Location("a.ipynb", 2, 7, 2, 9, cell=4),
    evidence=(),
    fix=Fix("remove it", (Edit(Location("a.ipynb", 2, 7, 2, 9, cell=4), "x"),), safe=True),
)
PROBES = (
    ProbeResult("NDP01", "init-loss", "ok", "2.31, expected ln 10", seconds=1.5),
    ProbeResult("NDP04", "gradient-isolation", "finding", "0.61"),
    ProbeResult("NDP06", "lr-range", "skipped", "no time left"),
    ProbeResult("NDP03", "overfit-batch", "failed", "it raised"),
)
FAILURES = (
    Failure("cannot parse it", "ND001", Location("bad.py", 3, 7)),
    Failure("NDP03 raised: lower the batch size", "NDP03"),
)
SCAN = Report("scan", "src", (SOFTMAX_TWICE, IN_A_CELL), files=4)
PROBE = Report("probe", "train.py:net", (BATCH_MIXED,), PROBES, FAILURES, ("loss: `nn.MSELoss`",), seconds=41.3)
CLEAN = Report("scan", "src", files=4)

# Escapes, markup of consoles, HTML, XML and Markdown, commands, separators, and what no encoding or XML can hold.
NASTY = (
    "\x1b]0;t\x07[bold]<b>&amp;]]>|`*_#@me $x$\r\n::error::x,y:%0A##[add-mask]z\n# h\u202e\u2028\x00\ud800\ufffe\uffff"
)
NASTY_REPORT = Report(
    "probe",
    NASTY,
    (
        Finding(
            "ND101",
            NASTY,
            Severity.ERROR,
            Confidence.CERTAIN,
            NASTY,
            NASTY,
            Location(NASTY, 1, 1, 1, 2),
            NASTY,
            (Evidence(NASTY, Location(NASTY, 2), NASTY), Evidence(NASTY)),
            {NASTY: NASTY},
            Fix(NASTY, (Edit(Location(NASTY, 1, 1, 1, 2), "x"),), safe=False),
        ),
    ),
    (ProbeResult("NDP01", NASTY, "ok", NASTY), ProbeResult("NDP02", NASTY, "skipped", NASTY)),
    (Failure(NASTY, "NDP06"), Failure(NASTY, "ND001", Location(NASTY, 1))),
    (NASTY,),
)
OBEYED = "\x1b\x07\x00\r\u202e\u2028"


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
    jsonschema = pytest.importorskip("jsonschema")
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
    assert [note["descriptor"]["id"] for note in invocation["toolExecutionNotifications"]] == ["ND001", "NDP03"]


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


# GitHub


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a workflow checked out, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    return tmp_path


def obeyed_by_the_runner(line: str) -> tuple[str, dict[str, str], str]:
    """How a runner reads a command: its name, its properties, its message."""
    head, _, message = line.removeprefix("::").partition("::")
    name, _, properties = head.partition(" ")
    pairs = (pair.partition("=") for pair in properties.split(","))
    return name, {key: decoded(value) for key, _, value in pairs}, decoded(message)


def decoded(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.usefixtures("checkout")
def test_github_annotates_the_span() -> None:
    assert github.render(SCAN) == (
        "::error file=src/train.py,line=60,endLine=60,col=26,endColumn=32,title=ND101 softmax-into-cross-entropy::"
        "`outputs` is a softmax (model.py:31)%0AReturn `self.head(x)` from Net.forward.\n"
        "::notice file=a.ipynb,title=ND101 softmax-into-cross-entropy::"
        "cell 4, line 2: `outputs` is a softmax (model.py:31)%0AReturn `self.head(x)` from Net.forward.\n"
    )


@pytest.mark.usefixtures("checkout")
def test_github_gives_no_columns_of_several_lines() -> None:
    finding = replace(SOFTMAX_TWICE, location=Location("a.py", 3, 5, 4, 2))
    _, properties, _ = obeyed_by_the_runner(github.render(replace(SCAN, findings=(finding,))))
    assert properties == {"file": "a.py", "line": "3", "endLine": "4", "title": "ND101 softmax-into-cross-entropy"}


@pytest.mark.usefixtures("checkout")
def test_github_names_what_could_not_be_examined() -> None:
    first, second, third = map(obeyed_by_the_runner, github.render(PROBE).splitlines())
    assert (first[0], first[1]["file"], first[1]["line"]) == ("warning", "model.py", "44")
    assert second[0] == "error"
    assert (second[1]["file"], second[1]["line"], second[2]) == ("bad.py", "3", "cannot parse it")
    assert third[1:] == ({"title": "NDP03 could not examine this"}, "NDP03 raised: lower the batch size")


def test_github_counts_paths_from_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "part").mkdir()
    monkeypatch.chdir(checkout / "part")
    assert "file=part/src/train.py," in github.render(SCAN)


@pytest.mark.usefixtures("checkout")
def test_nothing_of_the_user_s_commands_the_runner() -> None:
    lines = github.render(NASTY_REPORT).splitlines()
    assert len(lines) == 3
    for line in lines:
        name, properties, message = obeyed_by_the_runner(line)
        assert name == "error"
        assert set(properties) <= {"file", "line", "endLine", "col", "endColumn", "title"}
        assert "::error::x,y:%0A##[add-mask]z" in message
        assert not set(OBEYED) & set(line)


def test_github_has_nothing_to_say_of_a_clean_scan() -> None:
    assert github.render(CLEAN) == ""


def test_a_line_of_code_in_a_log_is_no_command() -> None:
    log = "  ::add-mask::x\n\n::error::\na::b ##[set-output]x\n##[error]\n# [1] x[::2]\n"
    assert github.inert(log) == "  : :add-mask::x\n\n: :error::\na::b ## [set-output]x\n## [error]\n# [1] x[::2]\n"


# GitLab


def test_gitlab_has_an_entry_for_each() -> None:
    [finding, cell] = json.loads(gitlab.render(SCAN))
    assert {**finding, "fingerprint": ""} == {
        "description": "ND101 `outputs` is a softmax (model.py:31)",
        "check_name": "ND101",
        "severity": "critical",
        "location": {"path": "src/train.py", "lines": {"begin": 60}},
        "fingerprint": "",
    }
    assert cell["location"] == {"path": "a.ipynb", "lines": {"begin": 1}}
    assert cell["description"].startswith("cell 4, line 2: ND101 ")
    assert json.loads(gitlab.render(CLEAN)) == []


def test_gitlab_of_a_probe() -> None:
    nowhere = replace(BATCH_MIXED, evidence=())
    entries = json.loads(gitlab.render(replace(PROBE, findings=(BATCH_MIXED, nowhere))))
    places = [(entry["location"]["path"], entry["location"]["lines"]["begin"]) for entry in entries]
    assert places == [("model.py", 44), ("train.py", 1), ("bad.py", 3), ("train.py", 1)]
    assert [entry["severity"] for entry in entries] == ["major", "major", "blocker", "blocker"]
    assert len({entry["fingerprint"] for entry in entries}) == 4


def test_gitlab_holds_nothing_that_a_terminal_obeys() -> None:
    entries = json.loads(gitlab.render(NASTY_REPORT))
    assert len(entries) == 3
    assert not set(OBEYED) & set(json.dumps(entries, ensure_ascii=False))


# JUnit

# Of the schema that Jenkins publishes: the attributes of each element, and what it may hold.
JUNIT = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "time", "skipped"}, {"testcase"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def junit_suite(report: Report) -> ElementTree.Element:
    root = ElementTree.fromstring(junit.render(report))
    for element in root.iter():
        attributes, children = JUNIT[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
    [suite] = root
    assert int(suite.get("tests", "")) == len(suite)
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(count, "")) == len(suite.findall(f"testcase/{tag}"))
    return suite


def test_junit_has_a_failed_test_for_each_finding() -> None:
    first, second = junit_suite(SCAN)
    assert first.attrib == {
        "name": "ND101 softmax-into-cross-entropy at src/train.py:60:26",
        "classname": "src/train.py",
        "time": "0.000",
    }
    assert first[0].attrib == {"type": "error, certain", "message": "`outputs` is a softmax (model.py:31)"}
    assert first[0].text == (
        "src/train.py:60:26: `outputs` is a softmax (model.py:31)\n"
        "model.py:31:16: softmax here\n"
        "src/train.py:58:9: returned here\n"
        "Return `self.head(x)` from Net.forward."
    )
    assert second.get("name") == "ND101 softmax-into-cross-entropy at a.ipynb:cell 4:2:7"


def test_junit_of_probes() -> None:
    cases = {case.get("name"): [child.tag for child in case] for case in junit_suite(PROBE)}
    assert cases == {
        "NDP04 gradient-isolation at train.py:net": ["failure"],
        "ND001 at bad.py:3:7": ["error"],
        "NDP03 at train.py:net": ["error"],
        "NDP01 init-loss": ["system-out"],
        "NDP06 lr-range": ["skipped"],
    }


def test_junit_of_a_clean_scan_has_a_test_that_passed() -> None:
    [case] = junit_suite(CLEAN)
    assert len(case) == 0


def test_junit_is_xml_whatever_the_user_wrote() -> None:
    suite = junit_suite(NASTY_REPORT)
    assert len(suite) == 5
    text = "".join(suite.itertext()) + "".join(value for element in suite.iter() for value in element.attrib.values())
    assert "<b>&amp;]]>" in text
    assert not set(OBEYED + "\ufffe\uffff\ud800") & set(text)
    assert junit.render(NASTY_REPORT).isascii()


# Markdown


def test_markdown_of_a_finding() -> None:
    text = markdown.render(replace(SCAN, findings=(SOFTMAX_TWICE, SOFTMAX_TWICE)))
    head, first, second = text.split("### ")
    assert head == (
        "## nndoctor scan `src`\n\n4 files, 2 errors.\n\n"
        "| severity | rule | findings |\n| --- | --- | --- |\n| error | ND101 softmax-into-cross-entropy | 2 |\n\n"
    )
    assert first.startswith(
        "error ND101 softmax-into-cross-entropy\n\n"
        "`src/train.py:60:26`: `outputs` is a softmax (model.py:31) *(certain)*\n\n"
        "```python\nloss = criterion(outputs, y)\n```\n\n"
        "1. `model.py:31:16`: softmax here\n2. `src/train.py:58:9`: returned here\n\n"
        "**Why:** "
    )
    assert first.endswith("**Do:** Return `self.head(x)` from Net.forward.\n\n")
    assert "**Why:**" not in second


def test_markdown_of_a_probe() -> None:
    text = markdown.render(PROBE)
    assert "4 probes, 1 warning, 2 failures." in text
    assert "Note: loss: `nn.MSELoss`\n" in text
    assert "output 0 depends on examples 1 to 7 *(likely)*\n" in text
    assert "**Measured:** influence 0.6123, worst inf\n" in text
    assert "| ok | NDP01 init-loss | 2.31, expected ln 10 |\n" in text
    assert "* ND001 `bad.py:3:7`: cannot parse it\n* NDP03 NDP03 raised: lower the batch size\n" in text


def elements(report: Report) -> Counter[str]:
    """How often each element of HTML is in what the Markdown becomes; raw HTML in it would stay and count."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = parser.render(markdown.render(report))
    assert "<!" not in html
    return Counter(re.findall(r"<(\w+)", html))


def plain(text: str) -> str:
    """As many words, none of which is markup."""
    return " ".join("word" for _ in text.split())


def test_markdown_s_only_markup_is_its_own() -> None:
    tame = replace(
        NASTY_REPORT,
        target="target",
        findings=tuple(
            replace(
                finding,
                name=plain(NASTY),
                message=plain(NASTY),
                treatment=plain(NASTY),
                location=Location("a.py", 1),
                source_line="word",
                evidence=(Evidence("word", Location("a.py", 2)), Evidence("word")),
                measurements={"word": "word"},
            )
            for finding in NASTY_REPORT.findings
        ),
        probes=tuple(replace(probe, name="word", summary="word") for probe in NASTY_REPORT.probes),
        failures=(Failure("word", "NDP06"), Failure("word", "ND001", Location("a.py", 1))),
        notes=("word",),
    )
    assert elements(NASTY_REPORT) == elements(tame)
    assert not set(OBEYED) & set(markdown.render(NASTY_REPORT))


def test_markdown_mentions_nobody() -> None:
    finding = replace(SOFTMAX_TWICE, message="@me $x$")
    assert ": &#64;me &#36;x&#36; *(certain)*" in markdown.render(replace(SCAN, findings=(finding,)))


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("`a_b` and c_d", "`a_b` and c\\_d"),
        ("`<b>` <b>", "`<b>` &#60;b&#62;"),
        ("one ` tick", "one \\` tick"),
        ("a \\`b`", "a \\\\`b`"),
        ("# no heading", "\\# no heading"),
    ],
)
def test_markdown_keeps_code_and_escapes_the_rest(message: str, written: str) -> None:
    finding = replace(SOFTMAX_TWICE, message=message)
    assert f": {written} *(certain)*" in markdown.render(replace(SCAN, findings=(finding,)))


def test_markdown_fences_code_that_has_fences() -> None:
    finding = replace(SOFTMAX_TWICE, source_line="x = '```'  # ````")
    assert "\n`````python\nx = '```'  # ````\n`````\n" in markdown.render(replace(SCAN, findings=(finding,)))
