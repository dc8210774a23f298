"""The machine: frames, branches, loops and the record of what happened; the evaluators live in the modules beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nndoctor.scan.interpreter.heap import Difference, Heap, join, same
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.values import (
    TRUE,
    Api,
    Choice,
    Class,
    Const,
    Function,
    Instance,
    Lib,
    Method,
    Module,
    Scope,
    Site,
    Term,
    Value,
    leaves,
)

if TYPE_CHECKING:
    import libcst as cst

    from nndoctor.scan.project import Project
    from nndoctor.scan.source import SourceFile

RETURN, BREAK, CONTINUE, RAISE = "return", "break", "continue", "raise"
Signal = str | None

# Bounds of one root (a module's body, or a function nobody calls). Real scripts stay a factor of ten below them;
# what exceeds them is not followed further, and is unknown.
MAX_STATEMENTS = 20_000
MAX_DEPTH = 16
MAX_IN_FUNCTION = 600  # statements of one function itself, over all its activations


class Frame:
    """One activation of a function, class body or module."""

    __slots__ = (
        "depth",
        "function",
        "inner",
        "is_class",
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
        self.inner = 0  # statements run by the functions that it called
        self.is_class = False
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


class Machine(Heap):
    """Runs one program; `program` holds what the run leaves behind."""

    def __init__(self, project: Project, program: Program) -> None:
        super().__init__()
        self.project = project
        self.program = program
        self.modules: dict[SourceFile, Module] = {}
        self.assumed: dict[Term, bool] = {}
        self.consulted: set[tuple[Term, bool]] | None = None
        self.grad: Value = TRUE  # whether the graph is being recorded
        self.amp: Value = Const(False)  # whether autocast is on
        self.loops: tuple[Loop, ...] = ()
        self.frames: list[Frame] = []
        self.called: set[int] = set()  # ids of the nodes of functions that were called
        self.memo: dict[Any, Any] = {}
        self.terms: dict[Any, Term] = {}
        self.apis: dict[str, Api] = {}
        self.values: dict[Any, Const] = {}
        self.constants: dict[int, Value] = {}  # by the id of their node
        self.dispatch: dict[type, Callable[..., Value]] = {}
        self.execute: dict[type, Callable[..., Signal]] = {}
        self.statements = 0
        self.spent: dict[int, int] = {}  # id of a function's node -> statements run in it
        self.repeated: set[tuple[int, int, int]] = set()  # loops that ran twice inside an outer loop
        self.in_forward = 0  # depth of module forwards being followed
        self.optimizers: list[Value] = []

    @property
    def frame(self) -> Frame:
        """The running activation."""
        return self.frames[-1]

    def site(self, node: cst.CSTNode) -> Site:
        """The place of a node of the running source file."""
        return Site(self.frames[-1].source, node)

    def term(
        self,
        op: str,
        inputs: tuple[Value, ...],
        node: cst.CSTNode | None,
        act: str | None = None,
        info: dict[str, Any] | None = None,
    ) -> Term:
        """The term of an operation; the same operation on the same operands at the same place is the same term."""
        key = (op, id(node), *map(id, inputs))
        found = self.terms.get(key)
        if found is not None and found.grad is self.grad:
            return found
        made = Term(op, inputs, self.frames[-1].source if self.frames else None, node, act, info, self.grad)
        self.terms[key] = made
        return made

    def pure(self, op: str, *inputs: Value) -> Term:
        """A term that depends on its operands alone, wherever it is written (comparisons, attributes)."""
        key = (op, *map(_identity, inputs))
        found = self.terms.get(key)
        if found is None:
            found = self.terms[key] = Term(op, inputs)
        return found

    def note(self, kind: str, node: cst.CSTNode, subject: Value, **details: Any) -> Event:
        """Record something that happened, with the loops, frame and assumptions it happened under."""
        order = len(self.program.events)
        event = Event(
            kind,
            self.site(node),
            subject,
            details,
            self.loops,
            tuple(self.frames),
            self.grad,
            dict(self.assumed),
            order,
        )
        self.program.events.append(event)
        return event

    def happen(self, kind: str, node: cst.CSTNode, subject: Value, **details: Any) -> Event:
        """Record a step of the training protocol; a call in which one happens is run again each time."""
        self.oldest_write = 0
        return self.note(kind, node, subject, **details)

    def api(self, name: str) -> Api:
        """The library name; one object for each."""
        found = self.apis.get(name)
        if found is None:
            found = self.apis[name] = Api(name)
        return found

    def constant(self, value: object) -> Const:
        """A computed constant; one object for each value."""
        key = (type(value), value)
        found = self.values.get(key)
        if found is None:
            found = self.values[key] = Const(value)
        return found

    def born(self, thing: Any) -> Any:
        """An object that was made just now."""
        self.bear(thing.attrs)
        return thing

    def joined(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """The value of a conditional expression."""
        known = self.truth(condition)
        if known is not None:
            return then if known else otherwise
        return join(guard_of(condition) or Term("branch"), then, otherwise)

    def merged(self, guard: Term, then: Value, otherwise: Value) -> Value:
        """The join of two values under a guard."""
        return join(guard, then, otherwise)

    @contextmanager
    def inner_scope(self) -> Iterator[None]:
        """A scope inside the running one, as a comprehension has."""
        outer, saved = self.frame.scope, self.assumed
        self.frame.scope = Scope({}, outer)
        self.assumed = dict(saved)
        yield
        self.frame.scope, self.assumed = outer, saved

    def like(self, module: Lib, items: Any) -> Lib:
        """A module container of the same kind with other children."""
        made = Lib(module.api, module.kind, {}, module.source, module.node)
        made.attrs["$items"] = items
        return self.born(made)

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
            self.assumed = dict(saved)
            self.assume(value.guard, truth)
            results.append(self.each(side, apply))
        self.assumed = saved
        then, otherwise = results
        return then if same(then, otherwise) else join(value.guard, then, otherwise)

    # Truth and assumptions

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
        self.assumed[term] = truth
        if term.op == "not":
            self.assume(term.inputs[0], not truth)
        elif (term.op == "and" and truth) or (term.op == "or" and not truth):
            for part in term.inputs:
                self.assume(part, truth)

    def under(self, condition: Value, truth: bool, run: Callable[[], Signal]) -> Signal:
        """Run something assuming a condition, and forget what was assumed meanwhile."""
        saved = self.assumed
        self.assumed = dict(saved)
        if condition is not None:
            self.assume(condition, truth)
        signal = run()
        self.assumed = saved
        return signal

    # Branches

    def branch(self, condition: Value, then: Callable[[], Signal], otherwise: Callable[[], Signal]) -> Signal:
        """Run one or both sides of a condition and join the states that go on."""
        known = self.truth(condition)
        if known is not None:
            return self.under(condition, known, then if known else otherwise)
        guard = guard_of(condition) or Term("branch")
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

    # Loops

    def loop(
        self, loop: Loop, binds: Sequence[Callable[[], None]], body: Callable[[], Signal], unrolled: bool
    ) -> Signal:
        """Run a loop's body once for each of `binds`, which bind its variables.

        `unrolled` says that these are the loop's real iterations; otherwise they stand for any number of them.
        """
        outer = self.loops
        loop.unrolled = unrolled
        if not unrolled and self._has_run(loop):
            binds = binds[:1]
        self.loops = (*outer, loop)
        depth = len(self.frame.pending)
        signal: Signal = None
        for bind in binds:
            mark, events = self.mark(), len(self.program.events)
            bind()
            signal = self.under(None, True, body)
            self.meet(depth, (CONTINUE,))
            goes_on = unrolled or self._widen(mark, len(self.program.events) > events)
            self.release()
            if signal in (BREAK, RETURN, RAISE) or not goes_on:
                break
        self.loops = outer
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
            if type(after) is Const and type(before) is Const and not same(before, after):
                if isinstance(after.value, int | float) and not isinstance(after.value, bool):
                    write = self.write if (id(cells), key) in self.written else self.write_local
                    write(cells, key, Term("counter"))
                    continue
            if cells is not names and (id(cells), key) in self.written:
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
                    self.reads.add((id(scope.names), name))
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


def guard_of(condition: Value) -> Term | None:
    """The term that stands for a condition, if there is one."""
    if type(condition) is Term:
        return condition
    if type(condition) is Choice and type(condition.then) is Const and type(condition.otherwise) is Const:
        return condition.guard if condition.then.value and not condition.otherwise.value else None
    return None


def _identity(value: Value) -> object:
    """What makes two operands of a pure term the same."""
    if type(value) is Const:
        try:
            hash(value.value)
        except TypeError:
            return id(value)
        return (type(value.value), value.value)
    return value if isinstance(value, str) else id(value)


_STABLE = frozenset({Api, Class, Function, Module})  # values that a name keeps
_TRUTHY = frozenset({Function, Class, Instance, Lib, Api, Method, Module})
