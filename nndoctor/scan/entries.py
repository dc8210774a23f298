"""The form in which the cache keeps a verdict: JSON, which may come with somebody else's repository and is checked."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from nndoctor.findings import Finding
from nndoctor.plain import every, failure, fields, finding, flag, location, number, table, text
from nndoctor.scan.directives import Directive, Usage
from nndoctor.scan.disk import Asked
from nndoctor.scan.verdict import Examined, Verdict

Entry = tuple[Verdict, Asked]  # a verdict, and what must still be so for it to hold


def encode(entry: Entry) -> bytes:
    """As the cache keeps it."""
    verdict, asked = entry
    return json.dumps({"verdict": asdict(verdict), "asked": asdict(asked)}, separators=(",", ":")).encode()


def decode(data: bytes) -> Entry | None:
    """What `encode` was given; none if it was not `encode` that made this."""
    try:
        entry = fields(json.loads(data), verdict=_verdict, asked=_asked)
    except (ValueError, TypeError, RecursionError):
        return None
    return entry["verdict"], entry["asked"]


def _verdict(plain: Any) -> Verdict:
    parts = {"findings": _placed, "failures": failure, "usages": _usage, "files": _examined}
    return Verdict(**fields(plain, **{name: every(reader) for name, reader in parts.items()}))


def _placed(plain: Any) -> Finding:
    found = finding(plain)
    if found.location is None:
        raise ValueError("a finding of the static pass has a place")
    return found


def _usage(plain: Any) -> Usage:
    return Usage(**fields(plain, directive=_directive, line=text, used=flag))


def _directive(plain: Any) -> Directive:
    return Directive(**fields(plain, selector=text, location=location, whole_file=flag))


def _examined(plain: Any) -> Examined:
    return Examined(**fields(plain, path=text, asked=flag, parsed=flag, bad_cells=number))


def _asked(plain: Any) -> Asked:
    return Asked(**fields(plain, contents=table(text), names=table(table(flag)), size=number))
