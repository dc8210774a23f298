"""Which rules a user means: a code, the prefix of codes, or a name, with near matches for what is none of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from operator import eq

from nndoctor.catalog import rule_names
from nndoctor.errors import UserError

CLOSE = 0.7  # of difflib's likeness: one slip in a code of five characters leaves 0.8
PREFIX = re.compile(r"NDP?\d*", re.IGNORECASE)


def split_selectors(options: Iterable[str]) -> tuple[str, ...]:
    """`["ND101,ND2", "ND301"]` to `("ND101", "ND2", "ND301")`."""
    return tuple(part.strip() for option in options for part in option.split(",") if part.strip())


def resolve(selectors: Iterable[str], where: str) -> frozenset[str]:
    """All codes that the selectors mean; raises UserError, which says `where` it stood, for an unknown one."""
    return frozenset(code for selector in selectors for code in _codes(selector, where))


def resolve_one(selector: str) -> str:
    """The code of the one rule with that code or name; raises UserError with near matches."""
    for code, name in rule_names().items():
        if selector.upper() == code or selector.lower() == name:
            return code
    begun = [code for code in rule_names() if PREFIX.fullmatch(selector) and code.startswith(selector.upper())]
    if begun:
        raise UserError(
            f"{len(begun)} codes begin with {selector!r}, from {begun[0]} to {begun[-1]}: write one of them"
        )
    raise UserError(f"there is no rule {selector!r}{_near_rule(selector)}; `nndoctor rules` lists them all")


def of_pass(codes: frozenset[str] | None, *, probes: bool) -> frozenset[str] | None:
    """The probes among the codes, or the rules of the static pass; raises UserError where none is left."""
    if codes is None:
        return None
    chosen = frozenset(code for code in codes if _is_probe(code) == probes)
    if codes and not chosen:
        here, there = ("probe", "scan") if probes else ("scan", "probe")
        raise UserError(f"`nndoctor {here}` knows none of {', '.join(sorted(codes))}: try `nndoctor {there}`")
    return chosen


def near(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean X or Y?`, or nothing where no candidate is close."""
    word = word.lower()
    rated = [(_likeness(word, candidate.lower()), candidate) for candidate in candidates]
    close = sorted(((like, candidate) for like, candidate in rated if like[0] >= CLOSE), reverse=True)
    return f"; did you mean {' or '.join(candidate for _, candidate in close[:3])}?" if close else ""


def _likeness(word: str, candidate: str) -> tuple[float, int]:
    """How much they have in common, and how many characters in the same place."""
    matcher = difflib.SequenceMatcher(None, candidate, word)
    if matcher.real_quick_ratio() < CLOSE:
        return 0.0, 0
    return matcher.ratio(), sum(map(eq, word, candidate))


def _codes(selector: str, where: str) -> list[str]:
    names = rule_names()
    if PREFIX.fullmatch(selector):
        codes = [code for code in names if code.startswith(selector.upper())]
    else:
        codes = [code for code, name in names.items() if name == selector.lower()]
    if not codes:
        raise UserError(f"{where}: no rule matches {selector!r}{_near_rule(selector)}")
    return codes


def _is_probe(code: str) -> bool:
    return code.startswith("NDP")


def _near_rule(selector: str) -> str:
    names = rule_names()
    return near(selector, [*names, *names.values()])
