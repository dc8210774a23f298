"""What the probes measured: a line for each, which opens to its figures, and then the charts."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import ProbeResult, Report
from nndoctor.report.html.cards import figures
from nndoctor.report.html.charts import charts
from nndoctor.report.html.markup import Markup, element, joined, prose
from nndoctor.report.text import duration


def ledger(report: Report) -> Markup:
    """Every probe, whether or not it found something."""
    entries = []
    for probe in report.probes:
        severity = report.worst.get(probe.code)
        entries.append(_entry(probe, severity.value if severity and probe.status == "finding" else probe.status))
    return element("div", *entries, class_="ledger")


def drawings(report: Report) -> Markup | None:
    """The charts of all probes."""
    drawn = [figure for number, probe in enumerate(report.probes) for figure in charts(f"probe-{number}", probe)]
    return element("div", *drawn, class_="charts") if drawn else None


def _entry(probe: ProbeResult, status: str) -> Markup:
    head = [
        element("span", status, class_="status"),
        element("span", probe.code, class_="code"),
        element("span", probe.name, class_="rule"),
        element("span", prose(probe.summary), class_="summary"),
    ]
    known = {"failed", "skipped", "ok", "error", "warning", "info"}
    style = f"entry {status if status in known else 'info'}"
    if not probe.measurements:
        return element("div", *head, class_=style)
    return element("details", element("summary", *head), joined(_inside(probe)), class_=style)


def _inside(probe: ProbeResult) -> Iterator[Markup | None]:
    yield figures(probe.measurements)
    yield element("p", f"{probe.steps} steps in {duration(probe.seconds)}", class_="cost")
