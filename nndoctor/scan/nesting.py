"""Refuses text so deeply nested, or so long, that libcst's native parser would take the process with it.

libcst 1.9 dies on an 8 MB stack at between 1,000 and 3,000 brackets within each other, at between 3,000 and 10,000
operators in a chain or branches of an `elif`; its time grows with the square of them, and doubles with each level of
a pattern. A character of code takes up to 2 KB. What the limits below refuse would not run (CPython allows 200
brackets) or was written by a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.scan.lexing import STRING_OR_COMMENT, statement_end

MAX_BRACKETS = 100
MAX_CHAIN = 500  # a quarter of what an 8 MB stack takes; Windows gives 2 MB
MAX_PATTERN = 12  # 2**12 times the work for one bracket is 20 ms
MAX_CODE = 1_000_000  # characters without strings, comments and blanks: 2 GB; 5 times the longest model of transformers

_INNERMOST = re.compile(rb"[(\[{][^()\[\]{}]*[)\]}]")
_WORD_OPERATOR = re.compile(r"(?:and|or|not|if|else|lambda|for|await)\b")  # also the end of "tensor": it may count more
_WORDS = ("and", "or", "not", "if", "else", "lambda", "for", "await")
_KEPT = b'()[]{},\n.+-*/%@&|^~<>"'  # strings and words are turned into a quote and a point first
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_BRANCH = re.compile(r"^([ \t]*)(if|elif)\b", re.MULTILINE)
_CASE = re.compile(r"^[ \t]*case\b", re.MULTILINE)
_LONG_FIELD = re.compile(rf"{{[^{{}}]{{{MAX_CHAIN},}}}}")
_FIELDS = frozenset("fFtT")
_RAW = frozenset("rR")


def refusal(text: str) -> str | None:
    """Why the parser must not be given this text, if so; takes 2 % of the time that the parser does."""
    code, f_strings = _without_strings(text.replace("\\\n", " ").replace("\\\r\n", " "))
    if len(code) > MAX_CODE and len(code) - code.count(" ") > MAX_CODE:
        return f"it has more than {MAX_CODE:,} characters of code"
    if _is_too_deep(code, f_strings):
        return f"it nests more than {MAX_BRACKETS} brackets or chains more than {MAX_CHAIN} operators or branches"
    return None


def _is_too_deep(code: str, f_strings: list[str]) -> bool:
    depth, chain = _measure(code)
    return (
        depth > MAX_BRACKETS
        or chain > MAX_CHAIN
        or _longest_elif(code) > MAX_CHAIN
        or (depth > MAX_PATTERN and any(_measure(case)[0] > MAX_PATTERN for case in _cases(code)))
        or any(map(_is_deep_f_string, f_strings))
    )


def _without_strings(text: str) -> tuple[str, list[str]]:
    """The text with a quote for each string and nothing for a comment, and the f-strings that have room for depth."""
    f_strings = []

    def replace(match: re.Match[str]) -> str:
        start, end = match.span()
        if end - start > MAX_BRACKETS and _has_fields(text[max(0, start - 2) : start]):
            f_strings.append(match.group().replace("{{", "").replace("}}", ""))
        return match[1] or ""

    return STRING_OR_COMMENT.sub(replace, text), f_strings


def _has_fields(before: str) -> bool:
    """Whether the two characters before a quote may make it an f-string or a t-string, into which the parser looks."""
    return before[-1:] in _FIELDS or (before[-1:] in _RAW and before[:-1] in _FIELDS)


def _measure(code: str) -> tuple[int, int]:
    """Levels of brackets, and how many operators may be within one another: of each level the most between commas."""
    if sum(map(code.count, _WORDS)) > MAX_CHAIN:
        code = _WORD_OPERATOR.sub(".", code)
    skeleton = code.encode("utf-8", "replace").translate(None, _DROPPED)
    depth = chain = 0
    while depth <= MAX_BRACKETS and (groups := _INNERMOST.findall(skeleton)):
        depth += 1
        chain += _longest(b",".join(groups).replace(b"\n", b"").split(b","))
        skeleton = _INNERMOST.sub(b".", skeleton)
    unclosed = sum(map(skeleton.count, (b"(", b"[", b"{")))
    return depth + unclosed, chain + _longest(skeleton.replace(b"\n", b",").split(b","))


def _longest(parts: list[bytes]) -> int:
    return max(map(len, parts))


def _longest_elif(code: str) -> int:
    """The most `elif` branches that one `if` has."""
    if code.count("elif") <= MAX_CHAIN:
        return 0
    branches: dict[str, int] = {}
    longest = 0
    for indent, keyword in _BRANCH.findall(code):
        branches[indent] = branches.get(indent, 0) + 1 if keyword == "elif" else 0
        longest = max(longest, branches[indent])
    return longest


def _cases(code: str) -> Iterator[str]:
    """The patterns of `match` statements."""
    for match in _CASE.finditer(code):
        yield code[match.start() : statement_end(code, match.start())]


def _is_deep_f_string(text: str) -> bool:
    brackets = sum(map(text.count, "([{"))
    return (brackets > MAX_BRACKETS and _measure(text)[0] > MAX_BRACKETS) or any(
        _measure(field)[1] > MAX_CHAIN for field in _LONG_FIELD.findall(text)
    )
