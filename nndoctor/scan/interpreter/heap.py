"""The store of the interpreter: every write goes through the trail, so that branches can be undone and joined."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from nndoctor.scan.values import (
    NONE,
    Choice,
    Class,
    Const,
    Instance,
    Lib,
    State,
    Term,
    Tuple,
    Value,
    leaves,
)

Cells = dict[Any, Any]
Cell = tuple[int, Any]
Reads = dict[Cell, tuple[Cells, Value]]
Difference = dict[Cell, tuple[Cells, Any, Value, Value]]  # cell -> (cells, key, value before, value after)

MAX_LEAVES = 4  # a value of more alternatives is summed up
MAX_OBJECTS = 8  # models, layers and optimizers that a name chooses from stay objects, which can be called
INITIAL, UNKNOWN = State("initial"), State("unknown")
ABSENT = State("absent")  # an item that a list has on one path only


class Heap:
    """Cells (names of scopes, attributes of objects), the trail of their old contents, and who wrote and read them."""

    def __init__(self) -> None:
        self.trail: list[tuple[Cells, Any, Value]] = []
        self.marks = 0  # how many branches, loops and calls still want the trail
        self.clock = 0
        self.written: dict[Cell, int] = {}  # when a cell of an object was last written
        self.births: dict[int, int] = {}  # when an object was made, by the id of its cells
        self.oldest_write = self.clock  # the earliest birth among the objects written in the running call
        self.reads: Reads | None = None  # what the running call has read of objects
        self.classes: dict[int, Class] = {}  # of objects of the project, by the id of their cells
        self.born_cells: list[Cells] = []  # keeps cells alive, so that their ids stay theirs

    def write_local(self, cells: Cells, key: Any, value: Value) -> None:
        """Bind a name of the running function."""
        if self.marks:
            self.trail.append((cells, key, cells.get(key)))
        cells[key] = value

    def write(self, cells: Cells, key: Any, value: Value) -> None:
        """Change an object or a module; remembered for the memo of calls."""
        if self.marks:
            self.trail.append((cells, key, cells.get(key)))
        cells[key] = value
        identity = id(cells)
        self.clock += 1
        self.written[identity, key] = self.clock
        birth = self.births.get(identity, 0)
        self.oldest_write = min(self.oldest_write, birth)

    def read(self, cells: Cells, key: Any) -> Value:
        """The content of an object's cell, or None; remembered for the memo of calls."""
        value = cells.get(key)
        if self.reads is not None:
            self.reads[id(cells), key] = (cells, value)
        return value

    def bear(self, cells: Cells) -> None:
        """Note that an object came to be now."""
        self.clock += 1
        self.births[id(cells)] = self.clock
        self.born_cells.append(cells)

    def mark(self) -> int:
        """Start to keep the trail; give the result to `since`, `undo` and at last to `release`."""
        self.marks += 1
        return len(self.trail)

    def release(self) -> None:
        """End what `mark` began."""
        self.marks -= 1
        if not self.marks:
            self.trail.clear()

    def since(self, mark: int) -> Difference:
        """What changed since the mark."""
        difference: Difference = {}
        for cells, key, before in self.trail[mark:]:
            cell = (id(cells), key)
            if cell not in difference:
                difference[cell] = (cells, key, before, cells.get(key))
        return difference

    def between(self, mark: int, end: int) -> Difference:
        """What changed from the mark to a later one."""
        later: dict[Cell, Value] = {}
        for cells, key, before in reversed(self.trail[end:]):
            later[id(cells), key] = before
        difference: Difference = {}
        for cells, key, before in self.trail[mark:end]:
            cell = (id(cells), key)
            if cell not in difference:
                difference[cell] = (cells, key, before, later.get(cell, cells.get(key)))
        return difference

    def undo(self, mark: int) -> None:
        """Put everything back as it was at the mark."""
        trail = self.trail
        while len(trail) > mark:
            cells, key, before = trail.pop()
            if before is None:
                cells.pop(key, None)
            else:
                cells[key] = before
            cell = (id(cells), key)
            if cell in self.written:
                self.clock += 1
                self.written[cell] = self.clock

    def join(self, guard: Term, then: Difference, otherwise: Difference, start: int) -> None:
        """Make the state after a branch that began at clock `start`, standing in the state of `otherwise`.

        An object that was made on one side is not known on the other, and stays as that side left it.
        """
        for cell in {**then, **otherwise}:
            here = otherwise.get(cell)
            there = then.get(cell)
            cells, key, before, _ = here or there  # type: ignore[misc]
            if (here is None or there is None) and self.births.get(cell[0], 0) > start:
                if there is not None:
                    self.write(cells, key, there[3])
                continue
            if before is None and cell[0] in self.classes:
                before = self.classes[cell[0]].find(key)  # the class's own attribute shows where the object has none
            joined = join(guard, there[3] if there else before, here[3] if here else before, key)
            if joined is not cells.get(key):
                (self.write if cell in self.written else self.write_local)(cells, key, joined)


def join(guard: Term, then: Value, otherwise: Value, key: Any = None) -> Value:
    """The value that is `then` where the guard is true and `otherwise` where it is not."""
    if then is otherwise:
        return then
    if then is None or otherwise is None:
        defined = then if otherwise is None else otherwise
        if not (isinstance(key, str) and key.startswith("$")):
            return defined
        then, otherwise = then or INITIAL, otherwise or INITIAL
    if same(then, otherwise):
        return otherwise
    if type(then) is Tuple and type(otherwise) is Tuple and len(then.items) == len(otherwise.items):
        return Tuple(tuple(join(guard, a, b) for a, b in zip(then.items, otherwise.items, strict=True)))
    if type(then) is tuple or type(otherwise) is tuple or type(then) is dict or type(otherwise) is dict:
        return _join_items(guard, then, otherwise)
    then, otherwise = _under(guard, True, then), _under(guard, False, otherwise)
    if same(then, otherwise):
        return otherwise
    options = (*leaves(then), *leaves(otherwise))
    if len(options) > MAX_LEAVES and not _are_objects(options):
        return UNKNOWN if isinstance(key, str) and key.startswith("$") else _summed_up(options)
    return choice(guard, then, otherwise)


_OBJECTS = frozenset({Instance, Lib})


def _are_objects(options: tuple[Value, ...]) -> bool:
    """Whether these are few objects, or none on some path."""
    return len(options) <= MAX_OBJECTS and all(type(o) in _OBJECTS or o is NONE or o is ABSENT for o in options)


def choice(guard: Term, then: Value, otherwise: Value) -> Choice:
    """The choice between two values; one object for each, so that calls on it are remembered."""
    if guard.attrs is None:
        guard.attrs = {}
    key = ("choice", id(then), id(otherwise))
    found: Choice | None = guard.attrs.get(key)
    if found is None:
        found = guard.attrs[key] = Choice(guard, then, otherwise)
    return found


def same(a: Value, b: Value) -> bool:
    """Whether two values cannot be told apart."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is Const:
        return type(a.value) is type(b.value) and bool(a.value == b.value)
    if type(a) is State:
        return bool(a.name == b.name)
    if type(a) is Choice:
        return a.guard is b.guard and same(a.then, b.then) and same(a.otherwise, b.otherwise)
    if type(a) is Tuple:
        return len(a.items) == len(b.items) and all(map(same, a.items, b.items))
    return False


def _join_items(guard: Term, then: Value, otherwise: Value) -> Value:
    """Contents of a container changed on one side: items are joined one by one."""
    if type(then) is dict and type(otherwise) is dict:
        return {**otherwise, **{k: join(guard, v, otherwise.get(k)) for k, v in then.items()}}
    if type(then) is tuple and type(otherwise) is tuple:
        return tuple(join(guard, a, b) for a, b in zip_longest(then, otherwise, fillvalue=ABSENT))
    return then if type(then) in (tuple, dict) else otherwise


def _under(guard: Term, truth: bool, value: Value) -> Value:
    while type(value) is Choice and value.guard is guard:
        value = value.then if truth else value.otherwise
    return value


def _summed_up(options: tuple[Value, ...]) -> Term:
    """Too many alternatives to tell apart: what they have in common."""
    acts = {option.act if type(option) is Term else None for option in options}
    return Term("joined", options, act=acts.pop() if len(acts) == 1 else None)
