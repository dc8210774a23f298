"""Terms, and the record of what happened: one object for each operation on the same operands at the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nndoctor.scan.interpreter.frames import Frame
from nndoctor.scan.interpreter.heap import Heap
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.values import (
    TRUE,
    Api,
    Const,
    Instance,
    Lib,
    Site,
    Term,
    Value,
)

if TYPE_CHECKING:
    import libcst as cst

    from nndoctor.scan.project import Project


class Terms(Heap):
    """The heap, the terms made so far, and where the run stands."""

    def __init__(self, project: Project, program: Program) -> None:
        super().__init__()
        self.project = project
        self.program = program
        self.frames: list[Frame] = []
        self.loops: tuple[Loop, ...] = ()
        self.assumed: dict[Term, bool] = {}
        self.grad: Value = TRUE  # whether the graph is being recorded
        self.amp: Value = Const(False)  # whether autocast is on
        self.terms: dict[Any, Term] = {}
        self.apis: dict[str, Api] = {}
        self.values: dict[Any, Const] = {}

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
            self.assumed,
            order,
        )
        self.program.add(event)
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
        if type(thing) is Instance:
            self.classes[id(thing.attrs)] = thing.cls
        return thing

    def like(self, module: Any, items: Any) -> Any:
        """A module container of the same class with other children."""
        if type(module) is Instance:
            made: Any = Instance(module.cls, module.source, module.node)
        else:
            made = Lib(module.api, module.kind, {}, module.source, module.node)
        made.attrs["$items"] = items
        return self.born(made)


def _identity(value: Value) -> object:
    """What makes two operands of a pure term the same."""
    if type(value) is Const:
        try:
            hash(value.value)
        except TypeError:
            return id(value)
        return (type(value.value), value.value)
    return value if isinstance(value, str) else id(value)
