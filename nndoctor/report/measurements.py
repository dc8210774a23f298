"""What the probes measured: a line for each, with its curves and matrices below."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from nndoctor.findings import ProbeResult, Report, Series
from nndoctor.report.prose import hanging
from nndoctor.report.sparkline import heat, sparkline
from nndoctor.report.text import figure, printable

CURVE = 24  # characters of a curve, two values each
MATRIX = 16  # rows and columns of a matrix that are drawn
STATUS = 9  # cells of the column that says ok, error, ...
CODE = 7
GAP = 3
STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "info": "bold blue",
    "ok": "green",
    "failed": "bold red",
    "skipped": "dim",
}


def probe_lines(report: Report, width: int) -> Iterator[Text]:
    """A line for each probe, whether or not it found something; matrices only where it did."""
    worst = report.worst
    summary = STATUS + CODE + max((len(probe.name) for probe in report.probes), default=0) + GAP
    for probe in report.probes:
        found = worst[probe.code].value if probe.code in worst else "evidence"  # of a cause that another has named
        word = found if probe.status == "finding" else probe.status
        head = Text().append(f"{printable(word):<{STATUS}}", STYLES.get(word, ""))
        head.append(f"{probe.code:<{CODE}}{printable(probe.name)}")
        yield from hanging(head, summary, probe.summary, width)
        if probe.timings:
            parts = (f"{printable(name)} {1000 * seconds:.3g} ms" for name, seconds in probe.timings.items())
            yield Text(" " * (STATUS + CODE) + ", ".join(parts))
        for name, series in probe.series.items():
            yield from _series_lines(name, series, probe)


def _series_lines(name: str, series: Series, probe: ProbeResult) -> Iterator[Text]:
    label = Text(" " * (STATUS + CODE) + printable(series.label or name))
    rows = [value for value in series.values if isinstance(value, tuple)]
    curve = [value for value in series.values if not isinstance(value, tuple)]
    if curve:
        yield label.append(f"  {figure(curve[0])} ").append(sparkline(curve, CURVE), "cyan").append(_end(series, curve))
    elif rows and probe.status == "finding":
        yield label
        for row in heat(rows, MATRIX):
            yield Text(" " * (STATUS + CODE)).append(row, "cyan")


def _end(series: Series, curve: list[float]) -> str:
    last = f" {figure(curve[-1])}"
    if not series.x:
        return last
    return f"{last}  over {printable(series.x_label)} {figure(series.x[0])} to {figure(series.x[-1])}"
