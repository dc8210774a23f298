"""Where the nodes of a tree stand in the text: code generation, as far as a finding needs it."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from libcst import Attribute, BaseSuite, Call, ClassDef, FunctionDef, Integer, Name, SimpleString
from libcst._nodes.internal import CodegenState

from nndoctor.scan.lexing import STRING_OR_COMMENT, line_starts
from nndoctor.scan.parsing import collector_off

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import libcst as cst

# libcst's code generation calls itself up to eight times for a level of brackets and twice for each operator of a
# chain; parsing.py admits 100 levels and chains of 500. CPython 3.10 takes half a kilobyte of stack for such a call.
RECURSION_LIMIT = 6000


class Positions:
    """Line and column of the nodes of one tree, which must be the parse of `text`."""

    def __init__(self, module: cst.Module, text: str) -> None:
        self._text = text
        self._lines = line_starts(text)
        self._recorder = _Recorder(module.default_indent, module.default_newline)
        self._ahead = _blocks(module, text)  # what was not generated yet

    def span(self, node: cst.CSTNode) -> tuple[int, int, int, int]:
        """First line and column, last line and column, counted from 1, the last column exclusive.

        Without the whitespace and parentheses around the node. Of a statement with a body it is the header, colon
        included: a reader is shown the `for`, not the hundred lines below it. Raises KeyError for a node that is not in
        the tree.
        """
        if id(node) not in self._recorder.spans:
            self._generate(node)
        start, end = self._recorder.spans[id(node)]
        suite = getattr(node, "body", None)
        if isinstance(suite, BaseSuite):
            end = self._recorder.starts[id(suite)]
        return (*self._place(start), *self._place(end))

    def _generate(self, node: cst.CSTNode) -> None:
        """Generate the blocks that may hold the node until one does."""
        word = _word(node)
        with collector_off(), _deep_recursion():
            for block in [block for block in self._ahead if word in self._text[block.start : block.end]]:
                self._ahead.remove(block)
                block.generate(self._recorder)
                if id(node) in self._recorder.spans:
                    return
        raise KeyError(f"{type(node).__name__} is not a node of this tree")

    def _place(self, offset: int) -> tuple[int, int]:
        offset = min(offset, len(self._text))
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1


@dataclass(frozen=True, slots=True)
class _Block:
    """A statement of the module, or all of them, and where in the text its code starts and where the next one does."""

    nodes: Sequence[cst.CSTNode]
    start: int
    end: int

    def generate(self, recorder: _Recorder) -> None:
        recorder.offset = self.start
        for node in self.nodes:
            node._codegen(recorder)


_UNINDENTED = re.compile(r"^(?!else\b|elif\b|except\b|finally\b)[^\s#)\]}]", re.MULTILINE)


def _blocks(module: cst.Module, text: str) -> list[_Block]:
    """The statements of a module one by one, if the lines that are not indented show where they start."""
    code = STRING_OR_COMMENT.sub(lambda match: "_" * len(match[0]) if match[1] else match[0], text)
    lines = [match.start() for match in _UNINDENTED.finditer(code)]
    decorators = [len(getattr(statement, "decorators", ())) for statement in module.body]
    # No statement starts elsewhere, so if there are as many lines as statements and decorators, they are these.
    if len(lines) != len(module.body) + sum(decorators):
        return [_Block((*module.header, *module.body), 0, len(text))]
    first = [index + before for index, before in enumerate(accumulate(decorators, initial=0))]
    ends = [*(lines[index] for index in first[1:-1]), len(text)]
    return [
        _Block((statement,), lines[index] - _length_before(statement, module), end)
        for statement, index, end in zip(module.body, first, ends, strict=False)
    ]


def _length_before(statement: Any, module: cst.Module) -> int:
    """The length of the empty lines and comments that libcst counts to a statement although they precede it."""
    decorated = getattr(statement, "decorators", ())
    lines = (*statement.leading_lines, *(decorated[0].leading_lines if decorated else ()))
    if not lines:
        return 0
    recorder = _Recorder(module.default_indent, module.default_newline)
    for line in lines:
        line._codegen(recorder)
    return recorder.offset


def _word(node: Any) -> str:
    """A piece of the code of a node, by which to tell in which statement it may be; empty if nothing is short."""
    match node:
        case Name() | Integer() | SimpleString():
            return node.value
        case Attribute():
            return node.attr.value
        case FunctionDef() | ClassDef():
            return node.name.value
        case Call():
            return _word(node.func)
    return ""


class _Recorder(CodegenState):
    """Generates no code: it notes by node id from which offset to which offset its code would reach."""

    def __init__(self, default_indent: str, default_newline: str) -> None:
        super().__init__(default_indent, default_newline)
        self.offset = 0
        self.starts: dict[int, int] = {}  # with the whitespace before the node
        self.spans: dict[int, tuple[int, int]] = {}

    def add_indent_tokens(self) -> None:
        self.offset += sum(map(len, self.indent_tokens))

    def add_token(self, value: str) -> None:
        self.offset += len(value)

    def before_codegen(self, node: cst.CSTNode) -> None:
        self.starts[id(node)] = self.offset

    def after_codegen(self, node: cst.CSTNode) -> None:
        if id(node) not in self.spans:
            self.spans[id(node)] = (self.starts[id(node)], self.offset)

    def record_syntactic_position(  # type: ignore[override]
        self, node: cst.CSTNode, *, start_node: cst.CSTNode | None = None, end_node: cst.CSTNode | None = None
    ) -> _Span:
        return _Span(self, node, start_node, end_node)


class _Span:
    """Notes a node's span when its code has been passed; a generator, as libcst has it, costs three times as much."""

    __slots__ = ("end_node", "node", "recorder", "start", "start_node")

    def __init__(
        self,
        recorder: _Recorder,
        node: cst.CSTNode,
        start_node: cst.CSTNode | None,
        end_node: cst.CSTNode | None,
    ) -> None:
        self.recorder = recorder
        self.node = node
        self.start = recorder.offset
        self.start_node = start_node
        self.end_node = end_node

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spans = self.recorder.spans
        start = self.start if self.start_node is None else spans[id(self.start_node)][0]
        end = self.recorder.offset if self.end_node is None else spans[id(self.end_node)][1]
        spans[id(self.node)] = (start, end)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
