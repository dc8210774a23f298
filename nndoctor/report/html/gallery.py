"""Exhibits: the batch as it enters the network and the filters of the first layer, as pictures, lines, ids, tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nndoctor.exhibits import Exhibit, Pictures, Signals, Table, Tokens
from nndoctor.report.html.curves import polyline
from nndoctor.report.html.drawing import drawing
from nndoctor.report.html.markup import Markup, element
from nndoctor.report.html.png import data_addresses
from nndoctor.report.html.scales import Scale, aligned, finite, short

SMALL = 24  # pixels: pictures below are filters, and shown smaller
SIGNAL = (200.0, 72.0)  # width and height
BLANK = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def exhibit(key: str, shown: Exhibit) -> Markup:
    """A figure with its caption; ids on the page begin with the key."""
    caption = element(
        "figcaption", element("span", shown.title, class_="name"), element("span", shown.caption, class_="what")
    )
    match shown:
        case Pictures():
            content = _pictures(shown)
        case Signals():
            content = element("ul", *_signals(key, shown), class_="signals")
        case Tokens():
            content = element("ol", *_tokens(shown), class_="texts")
        case Table():
            content = _table(shown)
    return element("figure", caption, content, class_="exhibit")


def _label(labels: Sequence[str], number: int) -> str:
    return labels[number] if number < len(labels) else ""


def _pictures(shown: Pictures) -> Markup:
    items = []
    for number, address in enumerate(data_addresses(shown)):
        label = _label(shown.labels, number)
        alternative = f"{shown.title}, number {number}" + (f", {label}" if label else "")
        size = {"width": str(shown.width), "height": str(shown.height)}
        below = element("span", label) if label else None
        items.append(element("li", element("img", src=address, alt=alternative, **size), below))
    small = max(shown.width, shown.height) < SMALL and not shown.labels
    return element("ul", *items, class_="pictures small" if small else "pictures")


def _signals(key: str, shown: Signals) -> Iterator[Markup]:
    """A small drawing for each example, all on one scale."""
    known = finite(value for example in shown.examples for channel in example for value in channel)
    low, high = min(known, default=0.0), max(known, default=1.0)
    width, height = SIGNAL
    for number, example in enumerate(shown.examples):
        label = _label(shown.labels, number)
        up = Scale(low, high, height - 4, 4)
        across = Scale(0.0, max(len(channel) for channel in example) - 1.0, 2, width - 2)
        lines = [
            polyline([(across(float(x)), up(y)) for x, y in enumerate(channel) if math.isfinite(y)], index)
            for index, channel in enumerate(example)
        ]
        title = f"{shown.title}, example {number}" + (f", {label}" if label else "")
        text = f"{len(example)} channels of {len(example[0])} values from {short(low)} to {short(high)}"
        drawn = drawing(f"{key}-{number}", title, text, height, *lines, width=width)
        yield element("li", drawn, element("span", label) if label else None)


def _tokens(shown: Tokens) -> Iterator[Markup]:
    for number, row in enumerate(shown.rows):
        pieces = shown.pieces[number] if shown.pieces else ()
        tokens = (_token(token, pieces[place] if pieces else None) for place, token in enumerate(row))
        label = _label(shown.labels, number)
        yield element("li", element("span", *tokens, class_="tokens"), element("span", label) if label else None)


def _token(token: int, piece: str | None) -> Markup:
    if piece is None:
        return element("b", str(token))
    visible = "".join(BLANK.get(character, character) for character in piece) or "∅"
    return element("b", visible, element("small", str(token)), class_="piece")


def _table(shown: Table) -> Markup:
    """With a column of labels where there are any; wide ones are scrolled within their frame."""
    heads = [element("th", str(column), scope="col") for column in range(len(shown.rows[0]))]
    if shown.labels:
        heads.append(element("td"))
    columns = [aligned(column) for column in zip(*shown.rows, strict=True)]
    rows = []
    for number in range(len(shown.rows)):
        cells = [element("td", column[number]) for column in columns]
        if shown.labels:
            cells.append(element("td", _label(shown.labels, number), class_="label"))
        rows.append(element("tr", element("th", str(number), scope="row"), *cells))
    head = element("thead", element("tr", element("td"), *heads))
    table = element("table", head, element("tbody", *rows), class_="examples")
    return element("div", table, class_="scrolled", tabindex="0", role="region", aria_label=shown.title)
