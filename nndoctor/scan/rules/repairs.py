"""How a rule says what would treat a finding: changes of text at places of the code, turned into edits if they fit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nndoctor.findings import Edit, Fix, Location
from nndoctor.scan.rules import wording
from nndoctor.scan.values import Site

_INDENT = re.compile(r"[ \t]*")
# What may stand between the indentation of a statement and a call in it: the name that takes its result.
_TARGET = re.compile(r"[ \t]*(?:[\w.,\[\] ]+=[ ]*)?")
_COMMA_AFTER = re.compile(r"[ \t]*,?")
_COMMA_BEFORE = re.compile(r",[ \t]*$")
_NAMED = re.compile(r"\([ \t]*['\"][^'\"]*['\"][ \t]*,[ \t]*$")  # `("softmax", nn.Softmax())`
_REST_OF_LINE = re.compile(r"[ \t]*;?[ \t]*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Change:
    """One change at a site.

    `text` instead of the code there, or as a line before or after the statement of which it is the whole or the value;
    or without text, to remove that statement, or an item of a list of arguments.
    """

    site: Site
    text: str = ""
    where: str = "instead"  # or "before", "after", "statement", "item"

    def edit(self) -> Edit | None:
        """The edit; None where the code does not stand on its lines as the change needs it."""
        location = self.site.source.location(self.site.node)
        assert location.end_line is not None and location.end_column is not None
        last = Location(location.path, location.end_line, cell=location.cell)
        first_line, last_line = map(self.site.source.line_text, (location, last))
        before, after = first_line[: location.column - 1], last_line[location.end_column - 1 :]
        if self.where == "instead":
            return Edit(location, self.text)
        if self.where == "item":
            return _without_item(location, before, after)
        if not _TARGET.fullmatch(before) or not _REST_OF_LINE.fullmatch(after):
            return None
        if self.where == "statement":
            return Edit(_lines(location, location.line, location.end_line + 1), "")
        indent = _INDENT.match(first_line)
        line = location.line if self.where == "before" else location.end_line + 1
        return Edit(_lines(location, line, line), f"{indent[0] if indent else ''}{self.text}\n")


def _lines(location: Location, first: int, end: int) -> Location:
    """Whole lines, the last one exclusive."""
    return Location(location.path, first, 1, end, 1, location.cell)


def _without_item(location: Location, before: str, after: str) -> Edit | None:
    """Remove an item with its comma, and with its lines if nothing else stands there."""
    assert location.end_line is not None and location.end_column is not None
    comma = _COMMA_AFTER.match(after)
    if not before.strip() and comma and _REST_OF_LINE.fullmatch(after[comma.end() :]):
        return Edit(_lines(location, location.line, location.end_line + 1), "")
    led = _COMMA_BEFORE.search(before)
    if led is None or _NAMED.search(before):
        return None
    start = Location(
        location.path, location.line, led.start() + 1, location.end_line, location.end_column, location.cell
    )
    return Edit(start, "")


@dataclass(frozen=True, slots=True)
class Repair:
    """Changes that treat a finding together; `safe` if they cannot change what the code was meant to do."""

    message: str
    changes: tuple[Change, ...]
    safe: bool = True

    def fix(self) -> Fix | None:
        """The edits of all changes, or None if one of them cannot be made."""
        edits = [change.edit() for change in self.changes]
        made = tuple(edit for edit in edits if edit is not None)
        return Fix(self.message, made, self.safe) if len(made) == len(edits) else None


def instead(site: Site, text: str, message: str, safe: bool = True) -> Repair:
    """Write something else in the place of an expression."""
    return Repair(message, (Change(site, text),), safe)


def with_argument(site: Site, argument: str, safe: bool = True) -> Repair:
    """Pass one more argument at the end of the call at a site."""
    inner = wording.code(site)[:-1].rstrip()
    separator = "" if inner.endswith("(") else " " if inner.endswith(",") else ", "
    return instead(site, f"{inner}{separator}{argument})", f"pass `{argument}`", safe)


def line(where: str, site: Site, text: str, safe: bool = True) -> Repair:
    """Put a line before or after the statement at a site."""
    return Repair(f"insert `{text}`", (Change(site, text, where),), safe)
