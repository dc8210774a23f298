"""The full report for people: findings with code frames, evidence and treatment, then measurements and failures."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Failure, Finding, Report
from nndoctor.report.closing import examined, next_steps
from nndoctor.report.frame import code_frame
from nndoctor.report.measurements import STYLES, probe_lines
from nndoctor.report.prose import INDENT, indented, justified, labelled
from nndoctor.report.text import duration, figure, opening, plural, printable, tally, target_name

ABOUT_THE_DOCTOR = "ND0"  # rules about files and comments, which no comment silences


def render(report: Report, console: Console) -> None:
    """Print the report; lines of code are never wrapped, prose is wrapped to the width of the console."""
    for line in _lines(report, console.width, at_terminal=console.file.isatty()):
        line.rstrip()
        console.print(line, soft_wrap=True)


def _lines(report: Report, width: int, at_terminal: bool) -> Iterator[Text]:
    yield _headline(report, width)
    for note in report.notes:
        yield from labelled("note", note, width)
    explained: set[str] = set()
    for finding in report.findings:
        yield Text()
        yield from _finding(finding, width, with_reasons=finding.code not in explained)
        explained.add(finding.code)
    if report.probes:
        yield Text()
        yield from probe_lines(report, width)
    for failure in report.failures:
        yield Text()
        yield from _failure(failure, width)
    yield Text()
    yield from _closing(report, width)
    for step in next_steps(report) if at_terminal else ():
        yield from indented(step, 0, width)


def _headline(report: Report, width: int) -> Text:
    left = Text().append(f"nndoctor {report.command} {target_name(report)}", "bold")
    if report.command == "scan":
        right = f"{plural(report.files, 'file')}, {tally(report)}"
    else:
        right = f"{plural(len(report.probes), 'probe')}, {tally(report)}, {duration(report.seconds)}"
    return justified(left, right, width)


def _finding(finding: Finding, width: int, with_reasons: bool) -> Iterator[Text]:
    style = STYLES[finding.severity.value]
    head = Text().append(finding.severity.value, style).append(f" {finding.code} ", "bold").append(finding.name)
    if finding.cause:
        head.append(f": {printable(finding.cause)}")
    yield justified(head, finding.confidence.value, width)
    yield from code_frame(finding, style, width)
    for step in finding.evidence:
        if step.location is None:
            yield from labelled("measured", step.message, width)
    if finding.measurements.keys() - {"cause"}:
        figures = (f"{name} {figure(value)}" for name, value in finding.measurements.items() if name != "cause")
        yield from labelled("measured", ", ".join(figures), width)
    if with_reasons and finding.code in rule_names():
        yield from labelled("why", opening(load_rule(finding.code).why), width)
    yield from labelled("do", finding.treatment, width)
    if finding.fix is not None:
        option = "--fix" if finding.fix.safe else "--fix --unsafe-fixes"
        yield from labelled("fix", f"{finding.fix.message}, with {option}", width)


def _failure(failure: Failure, width: int) -> Iterator[Text]:
    yield Text().append("failure", STYLES["failed"]).append(f" {failure.code}" if failure.code else "", "bold")
    where = f"{failure.location}: " if failure.location else ""
    yield from indented(where + failure.message, INDENT, width)


def _closing(report: Report, width: int) -> Iterator[Text]:
    if report.command == "scan" and not report.files:
        what = "that has changed " if report.coverage.unchanged else ""
        yield Text().append(f"No Python file and no notebook {what}was examined.", "bold yellow")
    elif not report.findings and not report.failures:
        yield Text().append("Nothing to report.", "green")
    elif report.findings:
        code = report.findings[0].code
        advice = f"`nndoctor explain {code}` says more."
        if report.command == "scan" and not code.startswith(ABOUT_THE_DOCTOR):
            advice += f" `# nndoctor: ignore[{code}] reason` on a line silences it there."
        yield from indented(advice, 0, width)
    for line in indented(examined(report), 0, width):
        line.stylize("dim")
        yield line
