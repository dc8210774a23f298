"""Activations of functions, and how a path through their statements ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nndoctor.scan.interpreter.heap import Difference
from nndoctor.scan.values import (
    Function,
    Scope,
    Term,
    Value,
)

if TYPE_CHECKING:
    import libcst as cst

    from nndoctor.scan.source import SourceFile

RETURN, BREAK, CONTINUE, RAISE = "return", "break", "continue", "raise"
Signal = str | None


class Frame:
    """One activation of a function, class body or module."""

    __slots__ = (
        "assumed",
        "depth",
        "function",
        "inner",
        "is_class",
        "is_root",
        "on_yield",
        "pending",
        "receiver",
        "results",
        "scope",
        "source",
        "yields",
    )

    def __init__(self, source: SourceFile, scope: Scope, depth: int, function: Function | None = None) -> None:
        self.source = source
        self.scope = scope
        self.depth = depth
        self.function = function
        self.assumed = 0  # how many things its caller had assumed
        self.inner = 0  # statements run by the functions that it called
        self.is_class = False
        self.is_root = False  # whether it stands for unknown callers of functions that nobody in the project calls
        self.on_yield: Callable[[Value], None] | None = None  # runs the body of `with` where a context manager yields
        self.receiver: Value | None = None
        self.results: list[tuple[Value, cst.CSTNode, dict[Term, bool]]] = []
        self.yields: list[Value] = []
        self.pending: list[Pending] = []


class Pending:
    """A path that left early: its changes are joined where its way and ours meet again."""

    __slots__ = ("difference", "guard", "kind", "mark", "start", "truth")

    def __init__(self, kind: str, begun: tuple[int, int], difference: Difference, guard: Term, truth: bool) -> None:
        self.kind = kind
        self.mark, self.start = begun  # of the trail, and of the clock
        self.difference = difference
        self.guard = guard
        self.truth = truth
