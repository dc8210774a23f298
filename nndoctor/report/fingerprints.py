"""Fingerprints: by them a finding is known again in the next run, though its line has moved."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from nndoctor.findings import Failure, Finding
from nndoctor.report.places import place_of

LENGTH = 32  # hexadecimal digits
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def fingerprints(subjects: Iterable[Finding | Failure]) -> list[str]:
    """One for each, all different: of the code, the path and the text of the line, and of how often these came before.

    Neither the number of the line counts nor its indentation, nor the number of a notebook's cell.
    """
    seen: Counter[str] = Counter()
    prints = []
    for subject in subjects:
        traits = _traits(subject)
        seen[traits] += 1
        prints.append(_digest(traits, seen[traits]))
    return prints


def fingerprint(finding: Finding, path: str) -> str:
    """The same for all findings of that code, in the file that is called `path`, on lines that read alike."""
    return _digest(_traits(finding, path), 1)


def _digest(traits: str, number: int) -> str:
    return hashlib.sha256(f"{traits}\0{number}".encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def _traits(subject: Finding | Failure, path: str | None = None) -> str:
    if isinstance(subject, Finding):
        place = place_of(subject)
        location, line = place.location, place.source_line
    else:
        location, line = subject.location, None
    if path is None:
        path = location.path if location else ""
    # A message without its numbers: lines move, and a figure that a probe measured is another on another machine.
    text = line or NUMBER.sub("", subject.message)
    return "\0".join((subject.code or "", path, " ".join(text.split())))
