"""The form of the catalogue: every rule is documented, exemplified and implemented in the same way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import tomli

from nndoctor.catalog import Example, Rule, load_rule, load_rules, rule_files, rule_names

FIELDS = {"code", "name", "pass", "severity", "summary", "why", "treatment", "source"}
MAX_SUMMARY = 100

every_rule = pytest.mark.parametrize("code", rule_files())


def sources(example: Example) -> list[str]:
    return [example.code, *example.files.values()]


def marks(rule: Rule, example: Example) -> int:
    """Lines of the example that are marked with the rule's code."""
    mark = re.compile(rf"# <- .*\b{rule.code}\b")
    return sum(bool(mark.search(line)) for source in sources(example) for line in source.splitlines())


@every_rule
def test_the_file_is_named_after_the_rule(code: str) -> None:
    rule = load_rule(code)
    assert rule_files()[code].name == f"{rule.code}-{rule.name}.toml"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule_names()[code] == rule.name


@every_rule
def test_the_code_tells_the_pass(code: str) -> None:
    rule = load_rule(code)
    pattern = {"static": r"ND\d{3}", "dynamic": r"NDP\d{2}"}[rule.passes]
    assert re.fullmatch(pattern, rule.code)


@every_rule
def test_the_fields_are_the_known_ones(code: str) -> None:
    table = tomli.loads(rule_files()[code].read_text(encoding="utf-8"))
    assert FIELDS <= table.keys() <= FIELDS | {"bad", "good"}
    for example in [*table.get("bad", []), *table.get("good", [])]:
        assert {"title", "code"} <= example.keys() <= {"title", "code", "files"}
        assert example["title"].strip()


@every_rule
def test_the_summary_is_one_line_that_states_the_fact(code: str) -> None:
    summary = load_rule(code).summary
    assert summary == " ".join(summary.split())
    assert 0 < len(summary) <= MAX_SUMMARY
    assert not summary.endswith(".")
    first_word = summary.split()[0]
    assert not first_word.istitle() or len(first_word) == 1, "the message goes on in lower case"


@every_rule
def test_the_reasons_the_treatment_and_the_source_are_there(code: str) -> None:
    rule = load_rule(code)
    assert all(text.strip() for text in (rule.why, rule.treatment, rule.source))
    assert rule.why.rstrip().endswith((".", "!", "?", "`", ")"))


@every_rule
def test_a_static_rule_has_marked_bad_and_unmarked_good_examples(code: str) -> None:
    rule = load_rule(code)
    if rule.passes == "static" and code != "ND001":
        assert len(rule.bad) >= 3
        assert len(rule.good) >= 5
    assert all(marks(rule, example) for example in rule.bad)
    assert not any(marks(rule, example) for example in rule.good)


@every_rule
def test_an_example_stands_once(code: str) -> None:
    rule = load_rule(code)
    for kind in (rule.bad, rule.good):
        assert len({example.title for example in kind}) == len(kind)
        assert len({(example.code, *example.files.values()) for example in kind}) == len(kind)


@every_rule
def test_examples_are_python(code: str) -> None:
    rule = load_rule(code)
    if code == "ND001":
        return
    for example in (*rule.bad, *rule.good):
        for name, source in [("train.py", example.code), *example.files.items()]:
            if Path(name).suffix == ".py":
                ast.parse(source, filename=f"{code}, {example.title}, {name}")


def test_names_are_unique() -> None:
    names = [rule.name for rule in load_rules()]
    assert sorted(names) == sorted(set(names))


def test_an_unknown_code_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load_rule("ND999")


# What the engine itself reports: it cannot parse, a comment silences nothing, a comment names no rule.
REPORTED_BY_THE_ENGINE = {"ND001", "ND002", "ND003"}


def test_every_static_rule_is_implemented_and_every_implementation_documented() -> None:
    from nndoctor.scan.rules import codes

    assert codes() | REPORTED_BY_THE_ENGINE == {rule.code for rule in load_rules() if rule.passes == "static"}


def test_every_probe_is_implemented_and_every_implementation_documented() -> None:
    from nndoctor.probe.registry import load_probes

    assert load_probes().keys() == {rule.code for rule in load_rules() if rule.passes == "dynamic"}
