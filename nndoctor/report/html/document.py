"""The document: verdict, findings, measurements, exhibits and failures, in that order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nndoctor import __version__
from nndoctor.findings import Failure, Finding, Report
from nndoctor.report.html.cards import card, place_name
from nndoctor.report.html.gallery import exhibit
from nndoctor.report.html.markup import Markup, element, joined, one_line, prose
from nndoctor.report.html.probes import drawings, ledger
from nndoctor.report.text import duration, plural, tally, target_name

STYLE_SHEET = Path(__file__).with_name("page.css")
# Even markup that slipped through could neither run nor fetch anything.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
LISTED = 2  # findings from which on the page begins with a list of them


def render(report: Report) -> str:
    """One file with everything in it, the same for the same report."""
    page = element(
        "html",
        _head(report),
        element("body", _header(report), element("main", *_sections(report)), _footer()),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _head(report: Report) -> Markup:
    style = Markup(STYLE_SHEET.read_text(encoding="utf-8"))
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{_verdict(report)} - nndoctor {report.command} {target_name(report)}"),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )


def _header(report: Report) -> Markup:
    gravest = min((finding.severity for finding in report.findings), key=lambda each: each.rank, default=None)
    state = gravest.value if gravest else "failed" if report.failures else "ok"
    return element(
        "header",
        element("p", "nndoctor ", element("b", report.command), " ", element("code", target_name(report)), class_="of"),
        element("h1", _verdict(report)),
        element("p", _examined(report), class_="examined"),
        _notes(report),
        class_=f"verdict {state}",
    )


def _verdict(report: Report) -> str:
    if report.command == "scan" and not report.files:
        return "Nothing was examined"
    if not report.findings and not report.failures:
        return "Nothing to report"
    return tally(report)


def _examined(report: Report) -> str:
    if report.command == "scan":
        return f"{plural(report.files, 'file')} examined. What cannot be followed is not judged."
    counts = Counter(probe.status for probe in report.probes)
    words = {"ok": "ok", "finding": "with findings", "failed": "failed", "skipped": "not applicable"}
    parts = [f"{counts[status]} {word}" for status, word in words.items() if counts[status]]
    return f"{plural(len(report.probes), 'probe')} in {duration(report.seconds)}: {', '.join(parts) or 'none ran'}."


def _notes(report: Report) -> Markup | None:
    """Facts about the check-up: what stands before a colon names what is said behind it."""
    rows = []
    for note in report.notes:
        label, colon, said = one_line(note).partition(": ")
        named = bool(colon) and " " not in label
        rows.append(joined([element("dt", label if named else "note"), element("dd", prose(said if named else note))]))
    return element("dl", *rows, class_="notes") if rows else None


def _sections(report: Report) -> Iterator[Markup]:
    if report.findings:
        yield _section("Findings", *_findings(report))
    if report.failures:
        yield _section("Could not be examined", element("ul", *map(_failure, report.failures), class_="failures"))
    if report.probes:
        yield _section("Measurements", ledger(report), drawings(report))
    if report.batch:
        shown = (exhibit(f"batch-{number}", each) for number, each in enumerate(report.batch))
        yield _section("The batch as it enters the network", *shown)
    if report.filters:
        shown = (exhibit(f"filters-{number}", each) for number, each in enumerate(report.filters))
        yield _section("The first layer before training", *shown)


def _section(title: str, *content: Markup | None) -> Markup:
    key = title.rsplit(maxsplit=1)[-1].lower()
    return element("section", element("h2", title, id=key), *content, aria_labelledby=key)


def _findings(report: Report) -> Iterator[Markup]:
    if len(report.findings) >= LISTED:
        links = (_link(number, finding) for number, finding in enumerate(report.findings))
        yield element("nav", element("ol", *links), class_="contents", aria_label="Findings")
    explained: set[str] = set()
    for number, finding in enumerate(report.findings):
        yield card(number, finding, with_reasons=finding.code not in explained)
        explained.add(finding.code)


def _link(number: int, finding: Finding) -> Markup:
    place = element("span", place_name(finding.location), class_="place") if finding.location else None
    words = element("a", prose(finding.message), href=f"#finding-{number}")
    return element("li", element("span", finding.code, class_="code"), words, place, class_=finding.severity.value)


def _failure(failure: Failure) -> Markup:
    code = element("span", failure.code, class_="code") if failure.code else None
    place = element("span", place_name(failure.location), class_="place") if failure.location else None
    return element("li", code, element("span", prose(failure.message)), place)


def _footer() -> Markup:
    advice = element("code", "nndoctor explain CODE")
    return element("footer", element("p", advice, f" says more about a finding. nndoctor {__version__}"))
