"""Runs a whole program: the modules in order, then what nobody called, with unknown arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import calls, following, imports, kinds, modes, objects, statements
from nndoctor.scan.interpreter.expressions import EVALUATE
from nndoctor.scan.interpreter.frames import Frame
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.interpreter.statements import EXECUTE
from nndoctor.scan.program import Program
from nndoctor.scan.project import Project
from nndoctor.scan.source import SourceFile
from nndoctor.scan.values import TRUE, Class, Const, Container, Function, Instance, Scope, Term, Tuple, Value

RECURSION_LIMIT = 8_000  # about 40 Python frames for each call followed, and deep expressions besides
DEBUG = "NNDOCTOR_DEBUG"


def run_program(project: Project, sources: Sequence[SourceFile]) -> Program:
    """Interpret these files, and the files of the project that they import."""
    program = Program()
    run = Machine(project, program)
    run.dispatch, run.execute = EVALUATE, EXECUTE
    run.requested = frozenset(sources)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
    try:
        for source in sources:
            run.optimizers, run.grad = [], TRUE
            _guarded(run, source, lambda s=source: _run_entry(run, s))  # type: ignore[misc]
        _run_roots(run, set(sources))
    finally:
        sys.setrecursionlimit(limit)
    program.backpropagated = _backpropagated(program)
    program.terms = run.terms.values()
    program.cells = run.born_cells
    return program


def _guarded(run: Machine, source: SourceFile, part: Callable[[], object]) -> None:
    """Run one part; what goes wrong in it is told, and costs only that part."""
    try:
        part()
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        run.program.errors.append((source, f"{type(error).__name__}: {error}"))
    run.frames, run.assumed, run.loops, run.in_forward = [], {}, (), 0
    run.marks, run.reads, run.consulted, run.entered, run.applied = 0, None, None, (), []
    run.trail.clear()


def _run_entry(run: Machine, source: SourceFile) -> None:
    """A file as the script that is started."""
    module = run.modules.get(source)
    if module is None:
        imports.run_module(run, source, "__main__")
    elif "__main__" in source.text and source.module is not None:
        guards = [line for line in source.module.body if type(line) is cst.If and _tests_name(line.test)]
        run.write(module.attrs, "__name__", Const("__main__"))
        with _frame(run, source, Scope(module.attrs, None), is_root=False):
            statements.run_block(run, guards)


def _tests_name(test: Any) -> bool:
    return type(test) is cst.Comparison and type(test.left) is cst.Name and test.left.value == "__name__"


@contextmanager
def _frame(run: Machine, source: SourceFile, scope: Scope, is_root: bool = True) -> Iterator[None]:
    run.frames = [Frame(source, scope, 0)]
    run.frames[0].is_root = is_root
    if is_root:
        run.grad = TRUE
    run.statements = 0
    yield
    run.frames = []


def _run_roots(run: Machine, sources: set[SourceFile]) -> None:
    for cls in list(run.program.classes):
        if cls.source in sources:
            _guarded(run, cls.source, lambda c=cls: _run_class(run, c))  # type: ignore[misc]
        elif _is_dataset(cls) and cls in run.program.instances:
            _guarded(run, cls.source, lambda c=cls: _run_items(run, c))  # type: ignore[misc]
    for function in run.program.functions:  # grows meanwhile: a function that is run may define others
        if function.source in sources and id(function.node) not in run.called and function.owner is None:
            _guarded(run, function.source, lambda f=function: _run_root(run, f))  # type: ignore[misc]
    for container in run.program.containers:
        if "$applied" not in container.attrs and container.source in sources and container.name == "Sequential":
            _guarded(run, container.source, lambda c=container: _apply(run, c))  # type: ignore[misc]


def _run_class(run: Machine, cls: Class) -> None:
    """The methods of a class that nobody called, on an object made with unknown arguments if there is none."""
    methods = [m for m in cls.attrs.values() if type(m) is Function and id(m.node) not in run.called]
    if not methods:
        return
    known = list(run.optimizers)
    with _frame(run, cls.source, Scope({}, None)):
        first, *others = _receivers(run, cls)
        if cls.is_module:
            modes.forget(run, first)  # nobody knows in which mode its methods will be called
        for method in sorted(methods, key=_forward_first):
            if id(method.node) not in run.called and method.name != "__init__":
                for receiver in (first, *others):
                    _call_root(run, method, receiver)
    run.optimizers = known


MAX_DATASETS = 3  # for training, validation and test


def _receivers(run: Machine, cls: Class) -> list[Instance]:
    """The last object of the class; of datasets several, since options such as augmentation tell them apart."""
    made = run.program.instances.get(cls, [])
    wanted = MAX_DATASETS if _is_dataset(cls) else 1
    return made[: -wanted - 1 : -1] or [_unknown_instance(run, cls)]


def _is_dataset(cls: Class) -> bool:
    return any(root.startswith(("torch.utils.data", "torchvision.datasets")) for root in cls.roots)


def _run_items(run: Machine, cls: Class) -> None:
    """The examples of datasets whose class another file defines; only the loader asks for them."""
    method = cls.attrs.get("__getitem__")
    if type(method) is Function and id(method.node) not in run.called:
        with _frame(run, cls.source, Scope({}, None)):
            for receiver in _receivers(run, cls):
                _call_root(run, method, receiver)


def _forward_first(method: Function) -> bool:
    return method.name not in ("forward", "fit", "train", "run", "main")


def _unknown_instance(run: Machine, cls: Class) -> Instance:
    instance = Instance(cls, cls.source, cls.node)
    run.born(instance)
    objects.initialise(run, instance, calls.Arguments.of_unseen_caller(), cls.node)
    return instance


def _unknown_arguments(function: Function) -> calls.Arguments:
    """Flags and what defaults to None stay unknown: another value may be passed."""
    keywords = {
        name: following.parameter_term(function, name)
        for name, default in function.defaults.items()
        if type(default) is Const and (default.value is None or isinstance(default.value, bool))
    }
    return calls.Arguments.of_unseen_caller(keywords)


def _run_root(run: Machine, function: Function) -> None:
    known = list(run.optimizers)
    with _frame(run, function.source, function.scope):
        _hand_over(run, following.call_function(run, function, _unknown_arguments(function), function.node))
    run.optimizers = known


def _hand_over(run: Machine, result: Value, depth: int = 3) -> None:
    """What a function returns that nobody calls goes to a caller who cannot be followed."""
    for leaf in run.leaves(result):
        run.program.handed[id(leaf)] = leaf
        if depth and type(leaf) in (Tuple, Container):
            for value in kinds.held(leaf):
                _hand_over(run, value, depth - 1)


def _call_root(run: Machine, method: Function, receiver: Value) -> None:
    static = any(getattr(d, "name", "") == "builtins.staticmethod" for d in method.decorators)
    bound = method if static else method.bind(receiver)
    run.statements = 0
    if method.name == "forward" and type(receiver) is Instance and receiver.cls.is_module:
        run.in_forward += 1
    try:
        result = following.call_function(run, bound, _unknown_arguments(method), method.node)
        _hand_over(run, result)
        if method.name == "training_step":
            run.note("training step", method.node, result)
        elif method.name == "__getitem__":
            run.note("example", method.node, receiver, result=result)
    finally:
        run.in_forward = 0


def _apply(run: Machine, container: Any) -> None:
    with _frame(run, container.source, Scope({}, None)):
        run.in_forward = 1
        calls.call_value(run, container, calls.Arguments((Term("parameter", info={"name": "input"}),)), container.node)


def _backpropagated(program: Program) -> set[int]:
    from nndoctor.scan.interpreter import graph

    found: set[int] = set()
    seen: set[int] = set()
    for event in program.of("backward"):
        for term in graph.ancestors(event.subject, seen=seen):
            found.add(id(term))
            found.update(id(value) for value in term.inputs)
    return found
