"""What the interpreter's run leaves behind: events in order, calls of library functions, and questions about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from nndoctor.scan.values import Choice, Class, Const, Function, Instance, Lib, Site, State, Term, Value, leaves

if TYPE_CHECKING:
    import libcst as cst

    from nndoctor.scan.interpreter.frames import Frame
    from nndoctor.scan.source import SourceFile


class Loop:
    """One execution of a loop: its statement and what it iterates over (None for `while`)."""

    __slots__ = ("began", "ends_early", "frame", "iterable", "left", "node", "unrolled")

    def __init__(self, node: cst.CSTNode, iterable: Value | None, began: int, frame: Frame) -> None:
        self.node = node
        self.frame = frame  # the activation of a function that runs it
        self.iterable = iterable
        self.began = began  # the time of the interpreter's clock
        self.unrolled = False  # whether it was run once for each of its real iterations
        self.ends_early = False  # whether some path leaves it before its last iteration
        self.left: str | None = None  # "break", "return" or "raise" if every path through its body ends in one


class Event:
    """Something that happened: its kind, place and subject, and under which loops, frames and assumptions."""

    __slots__ = ("assumed", "details", "frames", "grad", "kind", "loops", "order", "site", "subject")

    def __init__(
        self,
        kind: str,
        site: Site,
        subject: Value,
        details: dict[str, Any],
        loops: tuple[Loop, ...],
        frames: tuple[Any, ...],
        grad: Value,
        assumed: dict[Term, bool],
        order: int,
    ) -> None:
        self.kind = kind
        self.site = site
        self.subject = subject
        self.details = details
        self.loops = loops
        self.frames = frames
        self.grad = grad
        self.assumed = assumed
        self.order = order  # its place among all events

    @property
    def has_known_caller(self) -> bool:
        """Whether a script of the project runs this, not a function that nobody calls."""
        return not self.frames[0].is_root

    def options(self, value: Value) -> list[Value]:
        """Every value that `value` could be when this happened."""
        return list(leaves(value, self.assumed))

    def alternatives(self, value: Value) -> list[Value]:
        """The options of a value, those too that were summed up, of which nobody knows on which path each is met."""
        return [option for leaf in leaves(value, self.assumed) for option in _summed_up(leaf)]

    def tensors(self, value: Value) -> list[Value]:
        """What `value` could be when it was used as a tensor, which None cannot."""
        return [leaf for leaf in self.options(value) if not (type(leaf) is Const and leaf.value is None)]


MAX_ALTERNATIVES = 10  # more of them say nothing: a program has as many models or losses to choose from, or numbers


def _summed_up(value: Value) -> list[Value]:
    """The alternatives that a value sums up, or the value itself."""
    if type(value) is not Term or value.op != "joined":
        return [value]
    found: list[Value] = []
    stack, seen = list(value.inputs[::-1]), set()
    while stack and len(found) <= MAX_ALTERNATIVES:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if type(part) is Choice:
            stack += [part.otherwise, part.then]
        elif type(part) is Term and part.op == "joined":
            stack += part.inputs[::-1]
        elif type(part) is not State:  # the mark of an item that a list lacks on some path
            found.append(part)
    return found if found and len(found) <= MAX_ALTERNATIVES else [value]


class Program:
    """The record of one run."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._by_kind: dict[str, list[Event]] = {}
        self._by_name: dict[tuple[str, str], list[Event]] = {}  # calls and methods, by kind and name
        self.sources: list[SourceFile] = []  # in the order in which they were run
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.instances: dict[Class, list[Instance]] = {}  # the objects of each class
        self.containers: list[Lib] = []
        self.engines: set[str] = set()  # libraries that own the step
        self.errors: list[tuple[SourceFile, str]] = []
        self.failures: list[str] = []  # of rules that went wrong
        self.minimum_torch: tuple[int, int] | None = None  # the oldest torch that the code must run with, if one is set
        self.terms: Iterable[Term] = ()  # every term that the run made
        self.cells: Sequence[dict[Any, Any]] = ()  # the contents of every object that it made
        self._consumers: dict[int, list[Term]] | None = None
        self.handed: dict[int, Value] = {}  # by id: what was given to code that cannot be followed
        self.backpropagated: set[int] = set()  # ids of the terms that some backward pass reaches
        self.mode_readers: set[Class] = set()  # classes whose methods ask `self.training`

    def forget(self) -> None:
        """Drop the record, and cut the circles in which nearly all of its values refer to each other.

        They would keep the trees until the cyclic collector finds them, which takes longer than anything else here.
        """
        for term in self.terms:
            term.inputs, term.info, term.attrs = (), None, None
        for cls in self.classes:
            cls.mro = ()
            cls.attrs.clear()
        for function in self.functions:
            function.scope.names.clear()
        for cells in self.cells:
            cells.clear()
        self.__init__()  # type: ignore[misc]

    def of(self, *kinds: str) -> Iterator[Event]:
        """Events of these kinds, in order."""
        return _merged([self._by_kind[kind] for kind in kinds if kind in self._by_kind])

    def calls(self, *names: str) -> Iterator[Event]:
        """Calls of these library names (canonical, dotted), in order; `args` and `result` are among the details."""
        return self._named("call", names)

    def calls_within(self, prefix: str) -> Iterator[Event]:
        """Calls of the library functions whose dotted names begin so, in order."""
        return self.calls(*(name for kind, name in self._by_name if kind == "call" and name.startswith(prefix)))

    def methods(self, *names: str) -> Iterator[Event]:
        """Calls of methods of these names, of those in `torch_api.NOTED_METHODS`; the subject is the receiver."""
        return self._named("method", names)

    def consumers(self, value: Value) -> list[Term]:
        """The terms that were computed from a value directly."""
        if self._consumers is None:
            self._consumers = {}
            for term in self.terms:
                for operand in term.inputs:
                    self._consumers.setdefault(id(operand), []).append(term)
        return self._consumers.get(id(value), [])

    def _named(self, kind: str, names: tuple[str, ...]) -> Iterator[Event]:
        return _merged([self._by_name[kind, name] for name in names if (kind, name) in self._by_name])

    def add(self, event: Event) -> None:
        """Record one more event."""
        self.events.append(event)
        self._by_kind.setdefault(event.kind, []).append(event)
        if event.kind in ("call", "method"):
            self._by_name.setdefault((event.kind, event.details["name"]), []).append(event)


def _merged(lists: list[list[Event]]) -> Iterator[Event]:
    return iter(lists[0]) if len(lists) == 1 else iter(sorted(chain(*lists), key=_order))


def _order(event: Event) -> int:
    return event.order
