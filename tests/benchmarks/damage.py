"""Damage to programs and notebooks: what typing, pasting, merging and broken disks do to them, at random."""

from __future__ import annotations

import ast
import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

TOKEN = re.compile(r"\w+|\n[ \t]*|[ \t]+|[^\w\s]|\s")
NAME = re.compile(r"\b[A-Za-z_]\w*\b")
BROKEN = 0.1  # share of the programs that may not parse; the others are tried again, so that they reach the interpreter
TRIES = 12
MAX_CHANGES = 5
ODD_TOKENS = (
    "0", "-1", "1e400", "10 ** 10", "9" * 5000, "0777", "None", "True", "...", "*x", "**x", "()", "[]", "{}", "''",
    "b''", "self", "super()", "yield", "await x", "lambda: x", "f'{x!r:>{y}}'", "x if x else x", "(x := 1)", "not x",
    "~x", "x[...]", "x[::]", "x[:, None]", "nonlocal x", "global x", "del x", "pass", "return", "break", "async",
    "print x", "match x:", "case _:", "type X = int", "\\\n", "\f", "\t", "\x00", "\x1b[31m", "\u202e",
    "\ufeff", "é", "\U0001f525", "]]>", "%0A::error::x", "<script>", "`|`", "# nndoctor: ignore[ND101]", "# noqa: ND",
    "%%time", "!ls",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1.5, float("nan"), "", "x", "\x00\x1b[31m", "\ud800",
    [], [[]], [None, 3, "x\n"], {}, {"x": {}},
)  # fmt: skip


def program(chance: random.Random, text: str, other: str) -> str:
    """The text with a few changes, some of them taken from the other one."""
    may_break = chance.random() < BROKEN
    for _ in range(TRIES):
        changed = text
        for _ in range(chance.randint(1, MAX_CHANGES)):
            changed = chance.choice(CHANGES)(chance, changed, other)
        if may_break or _parses(changed):
            return changed
    return changed


def notebook(chance: random.Random, text: str) -> str:
    """The program as a notebook whose JSON is damaged, more or less."""
    cells = [_cell(chance, part) for part in re.split(r"\n(?=\S)", text)]
    document: Any = {"cells": cells, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4}
    for _ in range(chance.randrange(4)):
        _break_value(chance, document)
    written = json.dumps(document, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5)
    if chance.random() < BROKEN:
        at = chance.randrange(len(written))
        written = written[:at] + written[at + chance.randint(1, 40) :]
    return written


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


# Tokens


def _drop_tokens(chance: random.Random, text: str, other: str) -> str:
    start, end = _stretch(chance, tokens := TOKEN.findall(text))
    return "".join(tokens[:start] + tokens[end:])


def _repeat_tokens(chance: random.Random, text: str, other: str) -> str:
    start, end = _stretch(chance, tokens := TOKEN.findall(text))
    return "".join(tokens[:end] + tokens[start:])


def _swap_tokens(chance: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text)
    if len(tokens) > 1:
        first, second = chance.randrange(len(tokens)), chance.randrange(len(tokens))
        tokens[first], tokens[second] = tokens[second], tokens[first]
    return "".join(tokens)


def _foreign_token(chance: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text) or [""]
    tokens[chance.randrange(len(tokens))] = chance.choice(TOKEN.findall(other) or [""])
    return "".join(tokens)


def _odd_token(chance: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text) or [""]
    at = chance.randrange(len(tokens))
    tokens[at : at + chance.randrange(2)] = [chance.choice(ODD_TOKENS)]
    return "".join(tokens)


def _other_name(chance: random.Random, text: str, other: str) -> str:
    """A name that becomes another one everywhere, or in one place."""
    names = sorted(set(NAME.findall(text)))
    if not names:
        return text
    old, new = chance.choice(names), chance.choice(sorted(set(NAME.findall(other))) or names)
    return re.sub(rf"\b{old}\b", new, text, count=chance.choice((0, 1)))


def _stretch(chance: random.Random, tokens: list[str]) -> tuple[int, int]:
    start = chance.randrange(len(tokens) + 1)
    return start, start + chance.choice((1, 1, 1, 2, 3, 8))


# Lines


def _drop_lines(chance: random.Random, text: str, other: str) -> str:
    start, end = _stretch(chance, lines := text.splitlines(keepends=True))
    return "".join(lines[:start] + lines[end:])


def _repeat_lines(chance: random.Random, text: str, other: str) -> str:
    start, end = _stretch(chance, lines := text.splitlines(keepends=True))
    return "".join(lines[:end] + lines[start:])


def _swap_lines(chance: random.Random, text: str, other: str) -> str:
    """Two lines change places and keep the indentation of the place."""
    lines = text.splitlines(keepends=True)
    if len(lines) > 1:
        first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
        one, two = lines[first], lines[second]
        lines[first], lines[second] = _indented_like(two, one), _indented_like(one, two)
    return "".join(lines)


def _shift_line(chance: random.Random, text: str, other: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = chance.randrange(len(lines))
    lines[at] = f"    {lines[at]}" if chance.random() < 0.5 else lines[at].removeprefix("    ")
    return "".join(lines)


def _foreign_lines(chance: random.Random, text: str, other: str) -> str:
    """A few lines of the other text, with the indentation of the place where they land."""
    lines, others = text.splitlines(keepends=True), other.splitlines(keepends=True)
    if not (lines and others):
        return text + other
    at = chance.randrange(len(lines))
    start, end = _stretch(chance, others)
    lines[at:at] = [_indented_like(line, lines[at]) for line in others[start:end]]
    return "".join(lines)


def _halves(chance: random.Random, text: str, other: str) -> str:
    """The head of the text and the tail of the other."""
    lines, others = text.splitlines(keepends=True), other.splitlines(keepends=True)
    return "".join(lines[: chance.randrange(len(lines) + 1)] + others[chance.randrange(len(others) + 1) :])


def _indented_like(line: str, example: str) -> str:
    return example[: len(example) - len(example.lstrip(" "))] + line.lstrip(" ")


CHANGES: tuple[Callable[[random.Random, str, str], str], ...] = (
    _drop_tokens,
    _repeat_tokens,
    _swap_tokens,
    _foreign_token,
    _odd_token,
    _other_name,
    _drop_lines,
    _repeat_lines,
    _swap_lines,
    _shift_line,
    _foreign_lines,
    _halves,
)


# Notebooks


def _cell(chance: random.Random, text: str) -> dict[str, Any]:
    source: Any = text if chance.random() < 0.5 else text.splitlines(keepends=True)
    return {"cell_type": chance.choice(("code", "code", "code", "markdown")), "metadata": {}, "source": source}


def _break_value(chance: random.Random, node: Any) -> None:
    """Put an odd value in place of one somewhere in the document."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(node[key], dict | list) and chance.random() < 0.7:
            node = node[key]
        else:
            node[key] = copy.deepcopy(chance.choice(ODD_VALUES))
            return
