"""Building HTML and SVG: what is not made here is escaped, so that no text of the user's becomes markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

from nndoctor.report.text import CODE, printable

VOID = frozenset({"img", "link", "meta", "wbr"})


class Markup(str):
    """HTML; every other string is text, and escaped where it meets markup."""

    __slots__ = ()


Attribute = str | float | bool | None


def element(tag: str, /, *content: str | None, **attributes: Attribute) -> Markup:
    """`element("p", "text", class_="note")`; an attribute that is None or False is left out."""
    opening = f"<{tag}{''.join(map(_attribute, attributes, attributes.values()))}>"
    return Markup(opening if tag in VOID else f"{opening}{joined(content)}</{tag}>")


def joined(parts: Iterable[str | None]) -> Markup:
    """One part after the other."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts if part is not None))


def escaped(text: str) -> Markup:
    """The text as a reader shall see it: control characters become visible ones."""
    return Markup(html.escape(printable(str(text))))


def one_line(text: str) -> str:
    """The text with every stretch of white space as one blank."""
    return " ".join(text.split())


def prose(text: str) -> Markup:
    """A paragraph in which only pieces of code, in backticks, are markup."""
    line = one_line(text)
    codes = [element("code", code.strip("`")) for code in CODE.findall(line)]
    words = CODE.split(line)
    return joined(part for pair in zip(words, [*codes, None], strict=True) for part in pair)


def units(value: float) -> str:
    """A length in a drawing."""
    return f"{value:.1f}".removesuffix(".0")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    return f' {key}="{units(value) if isinstance(value, float) else escaped(str(value))}"'
