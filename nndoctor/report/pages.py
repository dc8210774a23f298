"""The page of one rule of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from nndoctor.catalog import Example, Rule
from nndoctor.report.measurements import STYLES
from nndoctor.report.prose import INDENT, LABEL, MAX_WIDTH, indented, labelled
from nndoctor.thresholds import thresholds_of


def render(rule: Rule, console: Console) -> None:
    """What the rule finds, why it matters, what to do, and an example of each kind."""
    for line in _lines(rule, console.width):
        line.rstrip()
        console.print(line, soft_wrap=True)


def _lines(rule: Rule, width: int) -> Iterator[Text]:
    severity = rule.severity.value
    yield Text().append(severity, STYLES[severity]).append(f" {rule.code} ", "bold").append(rule.name)
    yield from indented(rule.summary, INDENT, width)
    for label, prose in (("why", rule.why), ("do", rule.treatment), ("source", rule.source)):
        yield Text()
        yield from labelled(label, prose, width)
    for threshold in thresholds_of(rule.code):
        yield Text()
        yield from labelled("setting", f"`thresholds.{threshold.key} = {threshold.default}`: {threshold.why}", width)
    yield from _example("found", rule.bad)
    yield from _example("silent", rule.good)


def _example(label: str, examples: tuple[Example, ...]) -> Iterator[Text]:
    for example in examples[:1]:
        yield Text()
        yield from labelled(label, example.title, MAX_WIDTH)
        yield from _code(example.code)
        for name, code in example.files.items():
            yield from indented(f"and in `{name}`", INDENT + LABEL, MAX_WIDTH)
            yield from _code(code)


def _code(code: str) -> Iterator[Text]:
    for line in code.strip().splitlines():
        yield Text(" " * 2 * INDENT + line)
