"""A finding as a card: what it says, the path through the code that proves it, why it matters and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Evidence, Figure, Finding, Location
from nndoctor.report.html.markup import Markup, element, joined, one_line, prose
from nndoctor.report.text import figure, opening, span_in

LONGEST = 160  # characters of a line of code; the rest of a longer one is cut off
BREAKS = re.compile(r"(?<=[/_])")
BEFORE = 60  # of them stay before the span


def card(number: int, finding: Finding, *, with_reasons: bool) -> Markup:
    """The card of one finding; reasons are given once for each rule."""
    severity = finding.severity.value
    head = element(
        "header",
        element("span", severity, class_="severity"),
        element("span", finding.code, class_="code"),
        element("span", finding.name, class_="rule"),
        element("span", finding.confidence.value, class_="confidence"),
    )
    return element(
        "article",
        head,
        element("h3", prose(finding.message), id=f"finding-{number}-title"),
        _path(finding),
        element("dl", *_remarks(finding, with_reasons=with_reasons), class_="remarks"),
        class_=f"card {severity}",
        id=f"finding-{number}",
        aria_labelledby=f"finding-{number}-title",
    )


def _path(finding: Finding) -> Markup | None:
    """The place of the finding, and below it the steps that lead there."""
    own = Evidence("", finding.location, finding.source_line)
    steps = [step for step in finding.evidence if step.location is not None]
    if steps and _line(steps[0].location) == _line(finding.location):
        own = replace(own, message=steps.pop(0).message)
    path = [*([own] if own.location else []), *steps]
    return element("ol", *map(_step, path), class_="path") if path else None


def _line(location: Location | None) -> tuple[object, ...]:
    return (location.path, location.cell, location.line) if location else ()


def _step(step: Evidence) -> Markup:
    place = element("span", place_name(step.location), class_="place") if step.location else None
    message = element("span", prose(step.message), class_="happens") if step.message else None
    return element("li", place, _source(step.source_line, step.location), message)


def place_name(location: Location) -> Markup:
    """The place without its column, with chances to break a long path."""
    name = str(location).rpartition(":")[0]
    return joined(part for piece in BREAKS.split(name) for part in (piece, element("wbr")))


def _source(line: str | None, location: Location | None) -> Markup | None:
    """The line of code with its span marked."""
    if not line or not line.strip() or location is None:
        return None
    start, end = span_in(line, location)
    indent = len(line) - len(line.lstrip())
    first = max(indent, start - BEFORE) if len(line) - indent > LONGEST else indent
    last = min(len(line.rstrip()), first + LONGEST)
    before, marked, after = line[first:start], line[start : min(end, last)], line[min(end, last) : last]
    parts = ["…" if first > indent else "", before, element("mark", marked) if marked else None, after]
    return element("code", *parts, "…" if last < len(line.rstrip()) else "", class_="source")


def _remarks(finding: Finding, *, with_reasons: bool) -> Iterator[Markup]:
    measured = [element("p", prose(step.message)) for step in finding.evidence if step.location is None]
    if measured or finding.measurements:
        yield _remark("measured", joined([*measured, figures(finding.measurements)]))
    if with_reasons and finding.code in rule_names():
        yield _remark("why", element("p", prose(opening(load_rule(finding.code).why))))
    if finding.treatment.strip():
        yield _remark("do", element("p", prose(finding.treatment)))
    if finding.fix is not None:
        option = "--fix" if finding.fix.safe else "--fix --unsafe-fixes"
        yield _remark("fix", element("p", prose(finding.fix.message), ", with ", element("code", option)))


def _remark(label: str, content: Markup) -> Markup:
    return element("div", element("dt", label), element("dd", content), class_=label)


def figures(measurements: Mapping[str, Figure]) -> Markup | None:
    """Names and values, as on a laboratory's sheet."""
    if not measurements:
        return None
    rows = (
        element("div", element("dt", prose(name)), element("dd", _value(value))) for name, value in measurements.items()
    )
    return element("dl", *rows, class_="figures")


def _value(value: Figure) -> str:
    return "none" if value is None else one_line(figure(value))
