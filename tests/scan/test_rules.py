"""The catalogue's examples of the static rules: each bad one gives the findings that it marks, each good one none."""

from __future__ import annotations

import ast
import itertools
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from programs import MAIN, Mark, marks, notebook, reported, scan_files

from nndoctor.catalog import Example, Rule, load_rules, rule_names
from nndoctor.findings import Report
from nndoctor.scan.rules import codes

STATIC = [rule for rule in load_rules() if rule.passes == "static"]
ABOUT_ITSELF = "ND0"  # the family that the engine reports, not a rule
REPORTED = codes() | {code for code in rule_names() if code.startswith(ABOUT_ITSELF)}


def examples(*kinds: str, parsable: bool = False) -> list[object]:
    return [
        pytest.param(rule, example, id=f"{rule.code} {example.title}")
        for rule in STATIC
        if not (parsable and rule.code.startswith(ABOUT_ITSELF))
        for kind in kinds
        for example in getattr(rule, kind)
    ]


def files_of(example: Example) -> dict[str, str]:
    return {MAIN: example.code, **example.files}


def expected(example: Example) -> set[Mark]:
    return {mark for mark in marks(files_of(example)) if mark.code in REPORTED}


def scanned(folder: Path, rule: Rule, files: dict[str, str]) -> Report:
    """What every user is told about these files, and the advice of the rule and of those that are marked."""
    report = scan_files(folder, files, pedantic=True)
    assert [failure for failure in report.failures if failure.code is None] == []
    asked = {rule.code, *(mark.code for mark in marks(files))}
    return replace(report, findings=tuple(f for f in report.findings if f.code in asked or not f.is_advice))


@pytest.mark.parametrize(("rule", "example"), examples("bad", "good"))
def test_an_example_gives_what_it_marks(rule: Rule, example: Example, tmp_path: Path) -> None:
    assert reported(scanned(tmp_path, rule, files_of(example))) == expected(example)


@pytest.mark.parametrize(("rule", "example"), examples("bad", "good", parsable=True))
def test_it_gives_the_same_inside_a_function_that_a_flag_runs(rule: Rule, example: Example, tmp_path: Path) -> None:
    if not can_be_indented(example.code):
        pytest.skip("has what must stand at the top of a file")
    text = f"import sys\ndef main():\n{textwrap.indent(example.code, '    ')}\nif len(sys.argv) > 1:\n    main()\n"
    report = scanned(tmp_path, rule, {**files_of(example), MAIN: text})
    assert reported(report) == {
        mark._replace(line=mark.line + 2) if mark.path == MAIN else mark for mark in expected(example)
    }


def can_be_indented(code: str) -> bool:
    """Whether a script may stand in a function: no `from __future__`, no star import."""
    return "from __future__" not in code and "import *" not in code


@pytest.mark.parametrize(("rule", "example"), examples("bad", "good", parsable=True))
def test_it_gives_the_same_in_a_notebook(rule: Rule, example: Example, tmp_path: Path) -> None:
    cells = cells_of(example.code)
    first_lines = [1 + sum(cell.count("\n") for cell in cells[:i]) for i in range(len(cells))]
    report = scanned(tmp_path, rule, {"main.ipynb": notebook(cells), **example.files})
    found = set()
    for place, code in [(finding.location, finding.code) for finding in report.findings]:
        if place.cell is None:
            found.add(Mark(place.path, place.line, code))
        else:
            found.add(Mark(MAIN, first_lines[place.cell - 1] + place.line - 1, code))
    assert found == expected(example)


def cells_of(code: str) -> list[str]:
    """A script cut before each statement at its top."""
    starts = [min([node.lineno, *decorators(node)]) - 1 for node in ast.parse(code).body]
    lines = code.splitlines(keepends=True)
    cuts = [0, *starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in itertools.pairwise(cuts)]


def decorators(node: ast.stmt) -> list[int]:
    return [decorator.lineno for decorator in getattr(node, "decorator_list", [])]


@pytest.mark.parametrize(("rule", "example"), examples("bad"))
def test_a_finding_can_be_shown(rule: Rule, example: Example, tmp_path: Path) -> None:
    """A reader sees the line, and each step of the evidence has its place in the text."""
    files = files_of(example)
    findings = scanned(tmp_path, rule, files).findings
    assert rule.code in {finding.code for finding in findings}
    for finding in findings:
        assert finding.source_line == files[finding.location.path].splitlines()[finding.location.line - 1]
        assert "\n" not in finding.message
        assert finding.message and finding.treatment
        for step in finding.evidence:
            assert step.source_line == files[step.location.path].splitlines()[step.location.line - 1]


def test_the_catalogue_describes_exactly_the_rules_that_exist() -> None:
    described = {rule.code for rule in STATIC if not rule.code.startswith(ABOUT_ITSELF)}
    assert described == codes()
