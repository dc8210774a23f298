"""What the doctor says about the comments that silence it: those that silence nothing, and those that name no rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nndoctor.catalog import load_rule, rule_names
from nndoctor.findings import Confidence, Edit, Finding, Fix, Location
from nndoctor.scan.directives import EVERYTHING, Directive, Usage
from nndoctor.selection import near

UNUSED, UNKNOWN = "ND002", "ND003"


def about_suppressions(usages: Sequence[Usage], examined: Callable[[str], bool]) -> Iterator[Finding]:
    """ND002 and ND003, once all rules have had their say; `examined` tells which codes were looked for."""
    rules = rule_names()
    for usage in usages:
        directive = usage.directive
        if not directive.means_one_of(rules):
            words = f"`{directive.selector}` names no rule{near(directive.selector, [*rules, *rules.values()])}"
            yield _finding(UNKNOWN, words, usage)
        elif not usage.used and all(examined(code) for code, name in rules.items() if directive.matches(code, name)):
            yield _finding(UNUSED, _idle(directive), usage, _removal(usage, usages))


def _idle(directive: Directive) -> str:
    where = "in this file" if directive.whole_file else "here"
    if directive.selector == EVERYTHING:
        return f"there is nothing to silence {where}"
    return f"`{directive.selector}` finds nothing to silence {where}"


def _finding(code: str, message: str, usage: Usage, fix: Fix | None = None) -> Finding:
    rule = load_rule(code)
    return Finding(
        code,
        rule.name,
        rule.severity,
        Confidence.CERTAIN,
        message,
        rule.treatment,
        usage.directive.location,
        usage.line,
        fix=fix,
    )


def _removal(usage: Usage, usages: Sequence[Usage]) -> Fix | None:
    """Remove the comment, if nothing that it names is needed and nothing else stands in it."""
    place, line = usage.directive.location, usage.line
    comment = line[place.column - 1 :]
    rules = rule_names()
    beside = (other for other in usages if other.directive.location == place)
    needed = (other.used or not other.directive.means_one_of(rules) for other in beside)
    is_cut = place.end_column != len(line) + 1  # of a very long line only the beginning is known
    if any(needed) or "#" in comment[1:] or is_cut:
        return None
    before = line[: place.column - 1].rstrip()
    if before:
        span = Location(place.path, place.line, len(before) + 1, place.line, len(line) + 1, place.cell)
    else:
        span = Location(place.path, place.line, 1, place.line + 1, 1, place.cell)
    return Fix("remove the comment", (Edit(span, ""),), safe=True)
