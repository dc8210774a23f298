"""The charts of a probe: each of its series drawn by its shape, curves of one quantity together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nndoctor.findings import ProbeResult, Series
from nndoctor.report.html import bars, curves, matrices
from nndoctor.report.html.markup import Markup, element, joined

CAUSALITY = "NDP05"  # its matrix has a border between what was and what comes


def charts(key: str, probe: ProbeResult) -> Iterator[Markup]:
    """A figure for each group of series; ids on the page begin with the key."""
    for number, group in enumerate(_groups(probe)):
        yield _figure(f"{key}-{number}", probe, group)


def _groups(probe: ProbeResult) -> list[list[Series]]:
    """Curves that share their quantity and their axis; everything else by itself."""
    groups: dict[object, list[Series]] = {}
    if probe.timings:
        times = tuple(1000 * seconds for seconds in probe.timings.values())
        groups["timings"] = [Series(times, "milliseconds", names=tuple(probe.timings))]
    for name, series in probe.series.items():
        if series.values:
            together = series.y_label and not series.names and not _is_matrix(series)
            groups.setdefault((series.y_label, series.x_label, series.log_x) if together else name, []).append(series)
    return list(groups.values())


def _is_matrix(series: Series) -> bool:
    return isinstance(series.values[0], tuple)


def _figure(key: str, probe: ProbeResult, group: Sequence[Series]) -> Markup:
    first = group[0]
    title = f"{probe.code} {probe.name}: {first.label}"
    if _is_matrix(first):
        drawn = matrices.matrix(key, title, first, is_causal=probe.code == CAUSALITY)
        remarks = [matrices.note(first)]
    elif first.names:
        drawn = bars.bars(key, title, first)
        remarks = ["logarithmic scale" if bars.is_logarithmic(first) else None]
    else:
        drawn = curves.curves(key, title, group)
        remarks = [*curves.notes(group)]
    said = "; ".join(remark for remark in remarks if remark)
    caption = element("figcaption", _heading(probe, group), element("p", said, class_="remark") if said else None)
    return element("figure", caption, drawn, class_="chart")


def _heading(probe: ProbeResult, group: Sequence[Series]) -> Markup:
    """The name of the probe, and what is drawn, with a swatch for each of several curves."""
    name = element("span", probe.name, class_="name")
    if len(group) == 1:
        return joined([name, element("span", group[0].label, class_="what")])
    swatches = (
        element("span", element("i", class_=f"swatch swatch-{number % curves.COLOURS}"), series.label, class_="what")
        for number, series in enumerate(group)
    )
    return joined([name, *swatches])
