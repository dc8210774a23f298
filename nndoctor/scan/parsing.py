"""Text to a libcst tree, or one sentence why there is none; libcst is imported when the first text is parsed."""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nndoctor.scan.nesting import refusal

if TYPE_CHECKING:
    import libcst as cst

_PYTHON_2 = re.compile(
    r"\s*(?:print\s+[^\s(=.]|print\s*>>|exec\s+[^\s(=.]|raise\s+[\w.]+\s*,)|.*(?:<>|\b0[0-7]+\b|\b[uU][rR][\"'])"
)

ALIKE = ("SimpleWhitespace", "Dot", "Comma", "AssignEqual")  # nodes whose place nobody asks for


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a text has no tree, and where; line and column count from 1."""

    reason: str
    line: int = 1
    column: int = 1


def parse(text: str) -> cst.Module | SyntaxProblem:
    """The tree of a program."""
    refused = refusal(text)
    if refused is not None:
        return SyntaxProblem(f"{refused}; if a program wrote it, exclude it")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return SyntaxProblem("it contains a NUL character, which Python refuses; remove it or exclude the file", line)
    import libcst

    try:
        with collector_off(), _lean():
            return libcst.parse_module(text)
    except libcst.ParserSyntaxError as error:
        return _problem(text, error)


@contextmanager
def _lean() -> Iterator[None]:
    """Spare a quarter of the parse: the parser makes valid nodes only, and half of them are the same few.

    Without the check of each node that `libcst` makes anew, and with one node for all equal ones of the kinds in ALIKE.
    """
    import libcst

    check, kinds = libcst.CSTNode.__post_init__, {name: getattr(libcst, name) for name in ALIKE}
    libcst.CSTNode.__post_init__ = _unchecked  # type: ignore[method-assign,assignment]
    for name, kind in kinds.items():
        setattr(libcst, name, cache(kind))
    try:
        yield
    finally:
        libcst.CSTNode.__post_init__ = check  # type: ignore[method-assign]
        for name, kind in kinds.items():
            setattr(libcst, name, kind)


def _unchecked(node: cst.CSTNode) -> None:
    pass


@contextmanager
def collector_off() -> Iterator[None]:
    """The cyclic collector would walk what is being built again and again, for a quarter of the time and more."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _problem(text: str, error: cst.ParserSyntaxError) -> SyntaxProblem:
    """CPython's own words where it refuses the text too: they name the mistake, and its place to the column."""
    python = _python_error(text)
    if python is None:
        reason = getattr(error, "message", str(error)).partition(", expected")[0]
        return SyntaxProblem(f"{reason}; correct it or exclude it", getattr(error, "raw_line", 1))
    line, column = python.lineno or 1, max(1, python.offset or 1)
    if _PYTHON_2.match(_line(text, line)):
        return SyntaxProblem("it is written for Python 2; convert it with 2to3 or exclude it", line, column)
    return SyntaxProblem(f"{python.msg}; correct it or exclude it", line, column)


def _python_error(text: str) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):  # NUL characters before 3.12; an overflow of the compiler
        return None
    return None


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1] if number <= len(lines) else ""
