"""The machine: names, loops and the bounds of a run; the evaluators live in the modules beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nndoctor.scan.interpreter.branching import Branching
from nndoctor.scan.interpreter.frames import BREAK, CONTINUE, RAISE, RETURN, Signal
from nndoctor.scan.interpreter.heap import same
from nndoctor.scan.program import Loop, Program
from nndoctor.scan.values import (
    Api,
    Choice,
    Class,
    Const,
    Function,
    Module,
    Scope,
    Term,
    Value,
    leaves,
)

if TYPE_CHECKING:
    from nndoctor.scan.project import Project
    from nndoctor.scan.source import SourceFile

# Bounds of one root (a module's body, or a function nobody calls). Real scripts stay a factor of ten below them;
# what exceeds them is not followed further, and is unknown.
MAX_STATEMENTS = 20_000

MAX_DEPTH = 16

# Statements of one function itself, over all its activations, of which one counts a third at most: helpers are called
# from everywhere and soon tell nothing new, but an epoch must be seen to follow another.
MAX_IN_FUNCTION = 90


class Machine(Branching):
    """Runs one program; `program` holds what the run leaves behind."""

    def __init__(self, project: Project, program: Program) -> None:
        super().__init__(project, program)
        self.modules: dict[SourceFile, Module] = {}
        self.requested: frozenset[SourceFile] = frozenset()  # files to examine, not only to follow
        self.imported_lines = 0  # of other files, followed so far
        self.called: set[int] = set()  # ids of the nodes of functions that were called
        self.memo: dict[Any, list[Any]] = {}
        self.constants: dict[int, Value] = {}  # by the id of their node
        self.dispatch: dict[type, Callable[..., Value]] = {}
        self.execute: dict[type, Callable[..., Signal]] = {}
        self.statements = 0
        self.spent: dict[int, int] = {}  # id of a function's node -> statements run in it
        self.repeated: set[tuple[int, int, int]] = set()  # loops that ran twice inside an outer loop
        self.in_forward = 0  # depth of module forwards being followed
        self.applied: list[object] = []  # the Sequentials whose modules are being applied
        self.entered: tuple[object, ...] = ()  # nodes of the project's context managers around what runs
        self.optimizers: list[Value] = []

    @contextmanager
    def inner_scope(self) -> Iterator[None]:
        """A scope inside the running one, as a comprehension has."""
        outer, saved = self.frame.scope, self.assumed
        self.frame.scope = Scope({}, outer)
        yield
        self.frame.scope, self.assumed = outer, saved

    def loop(
        self, loop: Loop, binds: Sequence[Callable[[], None]], body: Callable[[], Signal], unrolled: bool
    ) -> Signal:
        """Run a loop's body once for each of `binds`, which bind its variables.

        `unrolled` says that these are the loop's real iterations; otherwise they stand for any number of them.
        """
        outer = self.loops
        loop.unrolled = unrolled
        sampled = len(binds) > 2  # a few of many known items: none of them stands for the others
        if not unrolled and self._has_run(loop):
            binds = [binds[0], binds[-1]] if sampled else binds[:1]
        self.loops = (*outer, loop)
        depth = len(self.frame.pending)
        signal: Signal = None
        for bind in binds:
            mark, events = self.mark(), len(self.program.events)
            bind()
            signal = self.under(None, True, body)
            self.meet(depth, (CONTINUE,))
            goes_on = unrolled or self._widen(mark, len(self.program.events) > events) or sampled
            self.release()
            if signal in (BREAK, RETURN, RAISE) or not goes_on:
                loop.left = signal
                break
        self.loops = outer
        loop.ends_early = any(path.kind in (BREAK, RETURN) for path in self.frame.pending[depth:])
        self.meet(depth, (BREAK,))
        return signal if signal in (RETURN, RAISE) else None

    def counted(self, value: Value) -> Value:
        """A number that a loop of unknown length counts up is unknown from the start."""
        endless = self.loops and not self.loops[-1].unrolled
        return Term("counter") if endless and type(value) is Const and type(value.value) in (int, float) else value

    def _has_run(self, loop: Loop) -> bool:
        """Whether an outer loop is in a later iteration, and this one has shown there what its repetition does."""
        if not self.loops:
            return False
        key = (id(self.loops[-1]), id(loop.node), id(loop.iterable))
        if key in self.repeated:
            return True
        self.repeated.add(key)
        return False

    def _widen(self, mark: int, told: bool) -> bool:
        """Numbers that the body changes are unknown from the second time on; says whether another run can tell more.

        It can if something changed, and the body did more than compute: it told an event or changed an object.
        """
        changed, names = False, self.frames[-1].scope.names
        for cells, key, before, after in self.since(mark).values():
            if _counts(before, after):
                write = self.write if (id(cells), key) in self.written else self.write_local
                write(cells, key, Term("counter"))
            elif cells is not names and (id(cells), key) in self.written:
                changed = told = True
            elif before is not None and not same(before, after):
                changed = True
        return changed and told

    def lookup(self, name: str) -> Value | None:
        """The value of a name in the running scope, then outwards."""
        scope: Scope | None = self.frames[-1].scope
        found = scope.names.get(name) if scope is not None else None
        if found is not None:
            return self.resolve(found) if type(found) is Choice else found
        while scope is not None:
            scope = scope.parent
            if scope is None:
                break
            found = scope.names.get(name)
            if found is not None:
                if self.reads is not None and type(found) not in _STABLE:
                    self.reads[id(scope.names), name] = (scope.names, found)
                return self.resolve(found) if type(found) is Choice else found
        return None

    def assign(self, name: str, value: Value) -> None:
        """Bind a name in the running scope, or where `global` or `nonlocal` says."""
        frame = self.frames[-1]
        scope = frame.scope
        if scope.globals is not None and name in scope.globals:
            target = scope.parent
            while target is not None and name not in target.names and target.parent is not None:
                target = target.parent
            if target is not None:
                self.write(target.names, name, value)
                return
        if frame.function is None:
            self.write(scope.names, name, value)
        else:
            self.write_local(scope.names, name, value)


def _counts(before: Value, after: Value) -> bool:
    """Whether a number became another one, on some path at least."""
    if type(before) is not Const or same(before, after):
        return False
    return all(
        type(leaf) is Const and isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool)
        for leaf in leaves(after)
    )


_STABLE = frozenset({Api, Class, Function, Module})  # values that a name keeps
