"""What a comment silences, and whether it did; comments are read in suppressions.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nndoctor.findings import Location

EVERYTHING = "*"  # what a comment without brackets silences


@dataclass(frozen=True, slots=True)
class Directive:
    """One code, prefix or name that a comment silences, or `EVERYTHING`."""

    selector: str
    location: Location  # of the comment
    whole_file: bool

    def matches(self, code: str, name: str) -> bool:
        """Whether that rule is meant."""
        if self.selector == EVERYTHING or self.selector.lower() == name:
            return True
        prefix = re.fullmatch(r"(NDP?\d*)x*", self.selector, re.IGNORECASE)
        return prefix is not None and code.startswith(prefix[1].upper())

    def means_one_of(self, rules: Mapping[str, str]) -> bool:
        """Whether any of these rules, given as code to name, is meant."""
        return any(self.matches(code, name) for code, name in rules.items())


@dataclass(frozen=True, slots=True)
class Usage:
    """What one word of a comment did: the line that the comment stands on, and whether it silenced anything."""

    directive: Directive
    line: str
    used: bool
