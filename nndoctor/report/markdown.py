"""The report in GitHub's Markdown: for the summary of a job, or a comment on a change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Evidence, Failure, Finding, Report
from nndoctor.report.text import CODE, figure, opening, plural, printable, tally, target_name

# Entities stand for what would be HTML, a mention or a formula even behind a backslash.
ESCAPES = {character: f"&#{ord(character)};" for character in "<>&@$|"}
ESCAPES |= {character: f"\\{character}" for character in "\\`*_[]~#"}
TICKS = re.compile("`+")


def render(report: Report) -> str:
    """A table of the rules that found something, a section for each finding, then probes and failures."""
    blocks = [
        f"## nndoctor {report.command} {_code(target_name(report))}",
        _closing(report),
        *(f"Note: {_prose(note)}" for note in report.notes),
    ]
    if report.findings:
        blocks.append(_table(("severity", "rule", "findings"), _counts(report)))
    explained: set[str] = set()
    for finding in report.findings:
        blocks += _finding(finding, with_reasons=finding.code not in explained)
        explained.add(finding.code)
    if report.probes:
        rows = [(probe.status, f"{probe.code} {probe.name}", probe.summary) for probe in report.probes]
        blocks += ["### Probes", _table(("status", "probe", "measured"), rows)]
    if report.failures:
        blocks += ["### Could not be examined", "\n".join(map(_failure, report.failures))]
    return "\n\n".join(blocks) + "\n"


def _closing(report: Report) -> str:
    if report.command == "scan":
        return f"{plural(report.files, 'file')}, {tally(report)}."
    return f"{plural(len(report.probes), 'probe')}, {tally(report)}."


def _counts(report: Report) -> list[tuple[str, str, str]]:
    found = Counter((finding.severity.value, finding.code, finding.name) for finding in report.findings)
    return [(severity, f"{code} {name}", str(number)) for (severity, code, name), number in found.items()]


def _finding(finding: Finding, with_reasons: bool) -> Iterator[str]:
    yield f"### {finding.severity.value} {finding.code} {_plain(finding.name)}"
    yield _step(Evidence(finding.message, finding.location)) + f" *({finding.confidence.value})*"
    if finding.source_line and finding.source_line.strip():
        yield _fenced(printable(finding.source_line.strip()))
    if finding.evidence:
        yield "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(finding.evidence, 1))
    if finding.measurements:
        measured = ", ".join(f"{name} {figure(value)}" for name, value in finding.measurements.items())
        yield f"**Measured:** {_plain(measured)}"
    if with_reasons and finding.code in rule_names():
        yield f"**Why:** {_prose(opening(load_rule(finding.code).why))}"
    yield f"**Do:** {_prose(finding.treatment)}"


def _step(step: Evidence) -> str:
    return f"{_code(str(step.location))}: {_prose(step.message)}" if step.location else _prose(step.message)


def _failure(failure: Failure) -> str:
    code = f"{failure.code} " if failure.code else ""
    return f"* {code}{_step(Evidence(failure.message, failure.location))}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _prose(text: str) -> str:
    """One line in which only pieces of code, in backticks, are markup."""
    line = printable(" ".join(text.split()))
    codes = [*CODE.findall(line), ""]
    return "".join(_escaped(words) + code for words, code in zip(CODE.split(line), codes, strict=True))


def _plain(text: str) -> str:
    """One line in which nothing is markup; also in a table, where a bar would end the cell even within code."""
    return _escaped(printable(" ".join(text.split())))


def _escaped(line: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in line)


def _code(text: str) -> str:
    """A piece of code, in more backticks than it has itself."""
    line = printable(text)
    fence = "`" * (max(map(len, TICKS.findall(line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def _fenced(line: str) -> str:
    fence = "`" * max(3, max(map(len, TICKS.findall(line)), default=0) + 1)
    return f"{fence}python\n{line}\n{fence}"
