"""Branches: truth, assumptions, and the join of the states that go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nndoctor.scan.interpreter.frames import RAISE, Pending, Signal
from nndoctor.scan.interpreter.heap import Difference, join, same
from nndoctor.scan.interpreter.terms import Terms
from nndoctor.scan.program import Program
from nndoctor.scan.values import (
    Api,
    Choice,
    Class,
    Const,
    Function,
    Instance,
    Lib,
    Method,
    Module,
    Term,
    Value,
    leaves,
)

if TYPE_CHECKING:
    from nndoctor.scan.project import Project


class Branching(Terms):
    """Runs both sides of what cannot be decided, and resolves values under what is assumed."""

    def __init__(self, project: Project, program: Program) -> None:
        super().__init__(project, program)
        self.consulted: set[tuple[Term, bool]] | None = None  # assumptions that the running call depends on

    def merged(self, guard: Term, then: Value, otherwise: Value) -> Value:
        """The join of two values under a guard."""
        return join(guard, then, otherwise)

    def joined(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """The value of a conditional expression."""
        known = self.truth(condition)
        if known is not None:
            return then if known else otherwise
        return join(guard_of(condition) or Term("branch"), then, otherwise)

    def resolve(self, value: Value) -> Value:
        """A value under what is assumed now."""
        while type(value) is Choice:
            known = self.assumed.get(value.guard)
            if known is None:
                return value
            if self.consulted is not None:
                self.consulted.add((value.guard, known))
            value = value.then if known else value.otherwise
        return value

    def leaves(self, value: Value) -> Iterator[Value]:
        """Every value that `value` can be now."""
        return leaves(value, self.assumed)

    def each(self, value: Value, apply: Callable[[Value], Value]) -> Value:
        """Apply a function to every alternative of a value."""
        value = self.resolve(value)
        if type(value) is not Choice:
            return apply(value)
        results: list[Value] = []
        saved = self.assumed
        for truth, side in ((True, value.then), (False, value.otherwise)):
            self.assumed = saved
            self.assume(value.guard, truth)
            results.append(self.each(side, apply))
        self.assumed = saved
        then, otherwise = results
        return then if same(then, otherwise) else join(value.guard, then, otherwise)

    def truth(self, value: Value) -> bool | None:
        """Whether a condition holds; None if that is unknown."""
        value = self.resolve(value)
        kind = type(value)
        if kind is Const:
            return bool(value.value)
        if kind is Term:
            return self._truth_of_term(value)
        if kind is Choice:
            truths = {self.truth(leaf) for leaf in self.leaves(value)}
            return truths.pop() if len(truths) == 1 else None
        return True if kind in _TRUTHY else None

    def _truth_of_term(self, term: Term) -> bool | None:
        known = self.assumed.get(term)
        if known is not None:
            if self.consulted is not None:
                self.consulted.add((term, known))
            return known
        if term.op == "not":
            inner = self.truth(term.inputs[0])
            return None if inner is None else not inner
        if term.op == "training":
            modes = {getattr(leaf, "name", "?") for leaf in self.leaves(term.inputs[1])}
            return modes == {"train"} if modes in ({"train"}, {"eval"}) else None
        if term.op in ("and", "or"):
            deciding = term.op == "or"
            truths = [self.truth(part) for part in term.inputs]
            if deciding in truths:
                return deciding
            return None if None in truths else not deciding
        return None

    def assume(self, condition: Value, truth: bool) -> None:
        """Take a condition for true or false until the enclosing branch, iteration or call ends."""
        term = guard_of(condition)
        if term is None or term in self.assumed:
            return
        self.assumed = {**self.assumed, term: truth}  # events and paths keep the one that held for them
        if term.op == "not":
            self.assume(term.inputs[0], not truth)
        elif (term.op == "and" and truth) or (term.op == "or" and not truth):
            for part in term.inputs:
                self.assume(part, truth)

    def under(self, condition: Value, truth: bool, run: Callable[[], Signal]) -> Signal:
        """Run something assuming a condition, and forget what was assumed meanwhile."""
        saved = self.assumed
        if condition is not None:
            self.assume(condition, truth)
        signal = run()
        self.assumed = saved
        return signal

    def branch(self, condition: Value, then: Callable[[], Signal], otherwise: Callable[[], Signal]) -> Signal:
        """Run one or both sides of a condition and join the states that go on."""
        known = self.truth(condition)
        if known is not None:
            return self.under(condition, known, then if known else otherwise)
        guard = guard_of(condition) or Term("branch", (condition,))
        mark, start = self.mark(), self.clock
        left = self.under(guard, True, then)
        changed = self._take_back(mark)
        right = self.under(guard, False, otherwise)
        signal = self._merge(guard, (mark, start), changed, left, right)
        self.release()
        return signal

    def _take_back(self, mark: int) -> Difference:
        """Undo a branch and return what it changed; paths that left inside it are told from the mark on."""
        changed = self.since(mark)
        for path in self.frame.pending:
            if path.mark > mark:
                path.difference = {**self.between(mark, path.mark), **path.difference}
                path.mark = mark
        self.undo(mark)
        return changed

    def _merge(self, guard: Term, begun: tuple[int, int], changed: Difference, left: Signal, right: Signal) -> Signal:
        mark, start = begun
        if left == right:
            self.join(guard, changed, self.since(mark), start)
            return left
        if left is not None and right is None:
            self._leave(left, begun, changed, guard, True)
            return None
        other = self._take_back(mark)
        for cells, key, _, value in changed.values():
            (self.write if (id(cells), key) in self.written else self.write_local)(cells, key, value)
        self._leave(right, begun, other, guard, False)
        return left

    def _leave(self, kind: Signal, begun: tuple[int, int], difference: Difference, guard: Term, truth: bool) -> None:
        """One side left by `kind`; the other goes on, knowing that the condition was not as it was there."""
        if kind is None or kind == RAISE:
            return
        self.marks += 1  # until the paths meet again
        self.frame.pending.append(Pending(kind, begun, difference, guard, truth))
        self.assume(guard, not truth)

    def meet(self, depth: int, kinds: tuple[str, ...]) -> None:
        """Join the paths that left by one of `kinds` since the frame had `depth` of them pending."""
        pending = self.frame.pending
        kept = []
        while len(pending) > depth:
            path = pending.pop()
            if path.kind not in kinds:
                kept.append(path)
                continue
            here = self.since(path.mark)
            then, otherwise = (path.difference, here) if path.truth else (here, path.difference)
            self.join(path.guard, then, otherwise, path.start)
            self.release()
        pending.extend(reversed(kept))


def guard_of(condition: Value) -> Term | None:
    """The term that stands for a condition, if there is one."""
    if type(condition) is Term:
        return condition
    if type(condition) is Choice and type(condition.then) is Const and type(condition.otherwise) is Const:
        return condition.guard if condition.then.value and not condition.otherwise.value else None
    return None


_TRUTHY = frozenset({Function, Class, Instance, Lib, Api, Method, Module})
