"""Findings as the plain values of JSON, and back: of what has not the form that ours have, nothing is believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nndoctor.catalog import rule_files
from nndoctor.findings import Confidence, Edit, Evidence, Failure, Finding, Fix, Location, Severity

MAX_NUMBER = 10**9  # of a line or column: no file that we read has more

Value = TypeVar("Value")
Reader = Callable[[Any], Value]
"""Makes a value of ours; raises ValueError or TypeError for a plain one that has another form."""


def fields(plain: Any, **readers: Reader[Any]) -> dict[str, Any]:
    """The fields of an object, each read by its reader; no field may lack or be too many."""
    if type(plain) is not dict or plain.keys() != readers.keys():
        raise ValueError(f"not an object with {', '.join(readers)}")
    return {name: read(plain[name]) for name, read in readers.items()}


def one_of(*kinds: type) -> Reader[Any]:
    """Reads a value that is of one of these types."""

    def read(plain: Any) -> Any:
        if type(plain) not in kinds:
            raise ValueError(f"not of {kinds}")
        return plain

    return read


def maybe(reader: Reader[Value]) -> Reader[Value | None]:
    """Reads what the reader does, or null."""
    return lambda plain: None if plain is None else reader(plain)


def every(reader: Reader[Value]) -> Reader[tuple[Value, ...]]:
    """Reads a list of what the reader does."""

    def read(plain: Any) -> tuple[Value, ...]:
        if type(plain) is not list:
            raise ValueError("not a list")
        return tuple(map(reader, plain))

    return read


def table(reader: Reader[Value]) -> Reader[dict[str, Value]]:
    """Reads an object with any names for what the reader does."""

    def read(plain: Any) -> dict[str, Value]:
        if type(plain) is not dict:
            raise ValueError("not an object")
        return {name: reader(value) for name, value in plain.items()}

    return read


text, flag, figure = one_of(str), one_of(bool), one_of(float, int, str, bool, type(None))


def number(plain: Any) -> int:
    """Reads a count, a line or a column."""
    if type(plain) is not int or not 0 <= plain <= MAX_NUMBER:
        raise ValueError("not the number of a line or column")
    return plain


def location(plain: Any) -> Location:
    """Reads a Location."""
    some = maybe(number)
    return Location(**fields(plain, path=text, line=number, column=number, end_line=some, end_column=some, cell=some))


def finding(plain: Any) -> Finding:
    """Reads a Finding."""
    return Finding(
        **fields(
            plain,
            code=_code,
            name=text,
            severity=Severity,
            confidence=Confidence,
            message=text,
            treatment=text,
            location=maybe(location),
            source_line=maybe(text),
            evidence=every(_evidence),
            measurements=table(figure),
            fix=maybe(_fix),
            rank=number,
        )
    )


def failure(plain: Any) -> Failure:
    """Reads a Failure."""
    return Failure(**fields(plain, message=text, code=maybe(_code), location=maybe(location)))


def _code(plain: Any) -> str:
    if plain not in rule_files():
        raise ValueError("not a rule")
    return str(plain)


def _evidence(plain: Any) -> Evidence:
    return Evidence(**fields(plain, message=text, location=maybe(location), source_line=maybe(text)))


def _fix(plain: Any) -> Fix:
    return Fix(**fields(plain, message=text, edits=every(_edit), safe=flag))


def _edit(plain: Any) -> Edit:
    return Edit(**fields(plain, location=location, text=text))
