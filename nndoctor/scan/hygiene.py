"""What the doctor says about the comments that silence it: those that silence nothing, and those that name no rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Confidence, Edit, Finding, Fix, Location
from nndoctor.scan.source import SourceFile
from nndoctor.scan.suppressions import EVERYTHING, Directive
from nndoctor.selection import near

UNUSED, UNKNOWN = "ND002", "ND003"


def about_suppressions(sources: Iterable[SourceFile], examined: Callable[[str], bool]) -> Iterator[Finding]:
    """ND002 and ND003, once all rules have had their say; `examined` tells which codes were looked for."""
    rules = rule_names()
    for source in sources:
        unknown = source.suppressions.unknown(rules)
        for directive in unknown:
            words = f"`{directive.selector}` names no rule{near(directive.selector, [*rules, *rules.values()])}"
            yield _finding(UNKNOWN, words, directive, source)
        unused = [directive for directive in source.suppressions.unused() if directive not in unknown]
        for directive in unused:
            meant = [code for code, name in rules.items() if directive.matches(code, name)]
            if all(map(examined, meant)):
                fix = _removal(directive, unused, source)
                yield _finding(UNUSED, _idle(directive), directive, source, fix)


def _idle(directive: Directive) -> str:
    where = "in this file" if directive.whole_file else "here"
    if directive.selector == EVERYTHING:
        return f"there is nothing to silence {where}"
    return f"`{directive.selector}` finds nothing to silence {where}"


def _finding(code: str, message: str, directive: Directive, source: SourceFile, fix: Fix | None = None) -> Finding:
    rule = load_rule(code)
    line = source.line_text(directive.location)
    return Finding(
        code,
        rule.name,
        rule.severity,
        Confidence.CERTAIN,
        message,
        rule.treatment,
        directive.location,
        line,
        fix=fix,
    )


def _removal(directive: Directive, unused: list[Directive], source: SourceFile) -> Fix | None:
    """Remove the comment, if nothing that it names is needed and nothing else stands in it."""
    place = directive.location
    line = source.line_text(place)
    comment = line[place.column - 1 :]
    if sum(other.location == place for other in unused) < source.suppressions.count(place) or "#" in comment[1:]:
        return None
    before = line[: place.column - 1].rstrip()
    if before:
        span = Location(place.path, place.line, len(before) + 1, place.line, len(line) + 1, place.cell)
    else:
        span = Location(place.path, place.line, 1, place.line + 1, 1, place.cell)
    return Fix("remove the comment", (Edit(span, ""),), safe=True)
