"""The form in which the cache keeps a verdict: JSON, of which nothing is believed that has not the form we write.

A cache may come with somebody else's repository. What is read from it makes values of ours or is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from nndoctor.catalog import rule_files
from nndoctor.findings import Confidence, Edit, Evidence, Failure, Finding, Fix, Location, Severity
from nndoctor.scan.directives import Directive, Usage
from nndoctor.scan.disk import Asked
from nndoctor.scan.verdict import Examined, Verdict

MAX_NUMBER = 10**9  # of a line or column: no file that we read has more

Value = TypeVar("Value")
Reader = Callable[[Any], Value]


Entry = tuple[Verdict, Asked]  # a verdict, and what must still be so for it to hold


def encode(entry: Entry) -> bytes:
    """As the cache keeps it."""
    verdict, asked = entry
    return json.dumps({"verdict": asdict(verdict), "asked": asdict(asked)}, separators=(",", ":")).encode()


def decode(data: bytes) -> Entry | None:
    """What `encode` was given; none if it was not `encode` that made this."""
    try:
        fields = _fields(json.loads(data), verdict=_verdict, asked=_asked)
    except (ValueError, TypeError, RecursionError):
        return None
    return fields["verdict"], fields["asked"]


def _fields(plain: Any, **readers: Reader[Any]) -> dict[str, Any]:
    """The fields of an object, each read by its reader."""
    if type(plain) is not dict or plain.keys() != readers.keys():
        raise ValueError(f"not an object with {', '.join(readers)}")
    return {name: read(plain[name]) for name, read in readers.items()}


def _one_of(*kinds: type) -> Reader[Any]:
    def read(plain: Any) -> Any:
        if type(plain) not in kinds:
            raise ValueError(f"not of {kinds}")
        return plain

    return read


def _maybe(reader: Reader[Value]) -> Reader[Value | None]:
    return lambda plain: None if plain is None else reader(plain)


def _all(reader: Reader[Value]) -> Reader[tuple[Value, ...]]:
    def read(plain: Any) -> tuple[Value, ...]:
        if type(plain) is not list:
            raise ValueError("not a list")
        return tuple(map(reader, plain))

    return read


def _table(reader: Reader[Value]) -> Reader[dict[str, Value]]:
    def read(plain: Any) -> dict[str, Value]:
        if type(plain) is not dict:
            raise ValueError("not an object")
        return {name: reader(value) for name, value in plain.items()}

    return read


_text, _flag = _one_of(str), _one_of(bool)


def _number(plain: Any) -> int:
    if type(plain) is not int or not 0 <= plain <= MAX_NUMBER:
        raise ValueError("not the number of a line or column")
    return plain


def _code(plain: Any) -> str:
    if plain not in rule_files():
        raise ValueError("not a rule")
    return str(plain)


def _location(plain: Any) -> Location:
    some = _maybe(_number)
    return Location(
        **_fields(plain, path=_text, line=_number, column=_number, end_line=some, end_column=some, cell=some)
    )


def _evidence(plain: Any) -> Evidence:
    return Evidence(**_fields(plain, message=_text, location=_maybe(_location), source_line=_maybe(_text)))


def _edit(plain: Any) -> Edit:
    return Edit(**_fields(plain, location=_location, text=_text))


def _fix(plain: Any) -> Fix:
    return Fix(**_fields(plain, message=_text, edits=_all(_edit), safe=_flag))


def _finding(plain: Any) -> Finding:
    return Finding(
        **_fields(
            plain,
            code=_code,
            name=_text,
            severity=Severity,
            confidence=Confidence,
            message=_text,
            treatment=_text,
            location=_location,
            source_line=_maybe(_text),
            evidence=_all(_evidence),
            measurements=_table(_one_of(float, int, str, bool, type(None))),
            fix=_maybe(_fix),
            rank=_number,
        )
    )


def _failure(plain: Any) -> Failure:
    return Failure(**_fields(plain, message=_text, code=_maybe(_code), location=_maybe(_location)))


def _usage(plain: Any) -> Usage:
    return Usage(**_fields(plain, directive=_directive, line=_text, used=_flag))


def _directive(plain: Any) -> Directive:
    return Directive(**_fields(plain, selector=_text, location=_location, whole_file=_flag))


def _examined(plain: Any) -> Examined:
    return Examined(**_fields(plain, path=_text, asked=_flag, parsed=_flag, bad_cells=_number))


def _verdict(plain: Any) -> Verdict:
    parts = {"findings": _finding, "failures": _failure, "usages": _usage, "files": _examined}
    return Verdict(**_fields(plain, **{name: _all(reader) for name, reader in parts.items()}))


def _asked(plain: Any) -> Asked:
    return Asked(**_fields(plain, contents=_table(_text), names=_table(_table(_flag)), size=_number))
