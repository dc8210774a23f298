"""What can be told of Python text without a tree: where its strings, comments, brackets and statements are."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A string ends at its closing quotes, an unfinished one where Python gives up: at the end of the line or of the text.
_ESCAPE = r"\\(?:\r\n|.)"
_AFTER_QUOTE = (
    r"(?<=Q)(?:QQ[^Q\\]*(?:(?:E|Q(?!QQ))[^Q\\]*)*(?:QQQ|\Z)"  # triple
    r"|[^Q\\\r\n]*(?:E[^Q\\\r\n]*)*Q?)"
)
_STRING_BODY = "|".join(_AFTER_QUOTE.replace("Q", quote).replace("E", _ESCAPE) for quote in "\"'")
NEWLINE = r"\r\n?|\n"
_LONE_CR = re.compile(r"\r(?!\n)")

# Group 1 is the quote of a string, and nothing for a comment. A pattern that starts with a set of characters leaps from
# one of them to the next, which is three times as fast as an alternative for each; hence the lookbehinds.
STRING_OR_COMMENT = re.compile(rf"[#\"'](?:(?<=#)[^\r\n]*|(?<=([\"']))(?:{_STRING_BODY}))", re.DOTALL)
TOKEN = re.compile(
    rf"(?P<comment>#[^\r\n]*)|(?P<string>[\"'](?:{_STRING_BODY}))|(?P<open>[(\[{{])|(?P<close>[)\]}}])"
    rf"|(?P<joined>\\(?:{NEWLINE}))|(?P<newline>{NEWLINE})",
    re.DOTALL,
)


def normal(text: str) -> str:
    """Without what libcst cannot parse or does not keep: a byte order mark, lone CRs, lone surrogates."""
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = _LONE_CR.sub("\n", text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def line_starts(text: str) -> list[int]:
    """The offset of each line's first character; lines end as Python's do, with LF, CRLF or CR."""
    return [0, *(match.end() for match in re.finditer(NEWLINE, text))]


def statement_tokens(text: str, start: int) -> Iterator[re.Match[str]]:
    """The tokens of the logical line that starts at `start`, up to and with the newline that ends it."""
    depth = 0
    for token in TOKEN.finditer(text, start):
        yield token
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth = max(0, depth - 1)
        elif token.lastgroup == "newline" and depth == 0:
            return


def statement_end(text: str, start: int) -> int:
    """The offset behind the logical line that starts at `start`."""
    last = None
    for last in statement_tokens(text, start):  # noqa: B007 - the last one is wanted
        pass
    return last.end() if last is not None and last.lastgroup == "newline" else len(text)
