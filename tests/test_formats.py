"""The formats for other programs: what they hold, and that what the user wrote is harmless in them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from reports import BATCH_MIXED, CLEAN, NASTY, NASTY_REPORT, OBEYED, PROBE, SCAN, SOFTMAX_TWICE

from nndoctor.findings import Evidence, Failure, Location, Report
from nndoctor.report import github, gitlab, junit, markdown

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
    first, second, third, fourth = map(obeyed_by_the_runner, github.render(PROBE).splitlines())
    assert (first[0], first[1]["file"], first[1]["line"]) == ("warning", "model.py", "44")
    assert second[0] == "error"
    assert (second[1]["file"], second[1]["line"], second[2]) == ("bad.py", "3", "cannot parse it")
    assert third[1:] == ({"title": "NDP03 could not examine this"}, "NDP03 raised: lower the batch size")
    assert fourth == ("notice", {"title": "nndoctor probe"}, "loss: `nn.MSELoss`")


def test_github_counts_paths_from_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "part").mkdir()
    monkeypatch.chdir(checkout / "part")
    assert "file=part/src/train.py," in github.render(SCAN)


@pytest.mark.usefixtures("checkout")
def test_nothing_of_the_user_s_commands_the_runner() -> None:
    lines = github.render(NASTY_REPORT).splitlines()
    assert len(lines) == 4
    for line in lines:
        name, properties, message = obeyed_by_the_runner(line)
        assert name == ("notice" if line is lines[-1] else "error")
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
    "testsuite": ({"name", "tests", "failures", "errors", "time", "skipped"}, {"testcase", "system-out"}),
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
    assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
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
    cases = {case.get("name"): [child.tag for child in case] for case in junit_suite(PROBE).iter("testcase")}
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
    assert [child.tag for child in suite] == ["testcase"] * 5 + ["system-out"]
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
