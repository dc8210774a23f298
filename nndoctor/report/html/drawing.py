"""What every drawing shares: the titled SVG around it, axes with their ticks, and text that keeps clear of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nndoctor.report.html.markup import Markup, element, joined
from nndoctor.report.html.scales import Scale

WIDTH = 440.0  # of a drawing; on a phone it shrinks by a fifth, and text stays readable
LETTER = 6.9  # width of a letter, on average
MOST_LETTERS = 44  # of a text in a drawing
LINE = 16.0  # height of a line of text


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle in which values are drawn."""

    left: float
    top: float
    right: float
    bottom: float


def drawing(
    key: str, title: str, description: str, height: float, *content: str | None, width: float = WIDTH
) -> Markup:
    """An SVG with a title and a description for those who cannot see it; `key` is unique on the page."""
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", description, id=f"{key}-text"),
        *content,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{key}-title {key}-text",
        tabindex="0",
    )


def text(words: str, x: float, y: float, class_: str = "", anchor: str = "start") -> Markup:
    """One line of text, cut where it is long; its baseline is at y."""
    shown = words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + "…"
    return element("text", shown, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def width_of(words: str) -> float:
    """About as wide as the text will be."""
    return LETTER * min(len(words), MOST_LETTERS)


def axes(frame: Frame, across: Scale, up: Scale, labels: tuple[str, str]) -> Markup:
    """Ticks, their figures, and the names of both axes; the vertical one has its name on top."""
    return joined([*_horizontal(frame, across, labels[0]), *_vertical(frame, up, labels[1])])


def _vertical(frame: Frame, up: Scale, label: str) -> Iterator[Markup]:
    for tick in up.ticks():
        yield line(frame.left, up(tick), frame.right, up(tick), "grid")
        yield text(up.label(tick), frame.left - 7, up(tick) + 4, "tick", "end")
    yield text(label, 0, 12, "axis")


def _horizontal(frame: Frame, across: Scale, label: str) -> Iterator[Markup]:
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "base")
    for tick in across.ticks():
        yield line(across(tick), frame.bottom, across(tick), frame.bottom + 4, "base")
        yield text(across.label(tick), across(tick), frame.bottom + 18, "tick", "middle")
    yield text(label, (frame.left + frame.right) / 2, frame.bottom + 37, "axis", "middle")


def stacked(places: Sequence[float], top: float) -> list[float]:
    """The places of lines of text, from the upper to the lower, each raised until it is clear of the next."""
    raised: list[float] = []
    for place in reversed(places):
        raised.append(min(place, raised[-1] - LINE) if raised else place)
    raised.reverse()
    for index, place in enumerate(raised):
        raised[index] = max(place, raised[index - 1] + LINE if index else top)
    return raised
