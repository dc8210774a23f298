"""Statements: assignment, branches, loops, with, try, definitions and imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import (
    containers,
    contexts,
    following,
    imports,
    noting,
    objects,
    operators,
    sequences,
    subscripts,
    tables,
    updates,
)
from nndoctor.scan.interpreter.frames import BREAK, CONTINUE, RAISE, RETURN, Signal
from nndoctor.scan.interpreter.machine import MAX_STATEMENTS, Machine
from nndoctor.scan.program import Loop
from nndoctor.scan.values import NONE, Container, Function, Lib, Scope, Term, Value

MAX_UNROLLED = 4  # a loop over so few known values is run once for each: phases, pairs, model lists


def run_block(run: Machine, body: Sequence[Any]) -> Signal:
    """Run statements until one leaves the block."""
    execute = run.execute
    for statement in body:
        run.statements += 1
        if run.statements > MAX_STATEMENTS:
            return RAISE
        if type(statement) is cst.SimpleStatementLine:
            signal = _run_line(run, statement.body)
        else:
            signal = execute[type(statement)](run, statement)
        if signal is not None:
            return signal
    return None


def _run_line(run: Machine, line: Sequence[Any]) -> Signal:
    """Run the statements on one line."""
    for statement in line:
        signal = run.execute[type(statement)](run, statement)
        if signal is not None:
            return signal
    return None


def run_suite(run: Machine, suite: cst.BaseSuite) -> Signal:
    """Run an indented block, or the statements after a colon on the same line."""
    if type(suite) is cst.IndentedBlock:
        return run_block(run, suite.body)
    run.statements += 1
    return _run_line(run, suite.body)


def _nothing(run: Machine, node: Any) -> Signal:
    return None


def _expression(run: Machine, node: cst.Expr) -> Signal:
    value = run.dispatch[type(node.value)](run, node.value)
    noting.dropped(run, node.value, value)
    return None


def _assign(run: Machine, node: cst.Assign) -> Signal:
    value = run.dispatch[type(node.value)](run, node.value)
    if type(node.targets[0].target) is cst.Name:
        updates.note_rebinding(run, node, value)
    for target in node.targets:
        bind(run, target.target, value)
    return None


def _annotated(run: Machine, node: cst.AnnAssign) -> Signal:
    if node.value is not None:
        bind(run, node.target, run.dispatch[type(node.value)](run, node.value))
    return None


def _augmented(run: Machine, node: cst.AugAssign) -> Signal:
    evaluate = run.dispatch
    before = evaluate[type(node.target)](run, node.target)
    operand = evaluate[type(node.value)](run, node.value)
    bind(run, node.target, _combined(run, node, before, operand))
    return None


def _combined(run: Machine, node: cst.AugAssign, before: Value, operand: Value) -> Value:
    """`before OP= operand`; a list or dict is changed in place."""
    name = type(node.operator).__name__
    if type(before) is Container and name == ("BitOrAssign" if before.kind != "list" else "AddAssign"):
        (tables.update if before.kind == "dict" else sequences.extend)(run, before, operand, node)
        return before
    result = operators.binary(run, name.removesuffix("Assign"), before, operand, node)
    updates.note_augmented(run, node, before, operand, result)
    return run.counted(result)


def bind(run: Machine, target: Any, value: Value) -> None:
    """Assign a value to a name, attribute, subscript or pattern of them."""
    kind = type(target)
    if kind is cst.Name:
        run.assign(target.value, value)
    elif kind is cst.Attribute:
        receiver = run.dispatch[type(target.value)](run, target.value)
        objects.set_attribute(run, receiver, target.attr.value, value, target)
    elif kind is cst.Tuple or kind is cst.List:
        _unpack(run, target, value)
    elif kind is cst.Subscript:
        subscripts.set_item(run, target, value)
    elif kind is cst.StarredElement:
        bind(run, target.value, value)


def _unpack(run: Machine, target: cst.Tuple | cst.List, value: Value) -> None:
    parts = containers.unpacked(run, value, target)
    for element, part in zip(target.elements, parts, strict=True):
        bind(run, element.value, part)


def _if(run: Machine, node: cst.If) -> Signal:
    condition = run.dispatch[type(node.test)](run, node.test)
    orelse = node.orelse

    def otherwise() -> Signal:
        if orelse is None:
            return None
        return _if(run, orelse) if type(orelse) is cst.If else run_suite(run, orelse.body)

    return run.branch(condition, lambda: run_suite(run, node.body), otherwise)


def _for(run: Machine, node: cst.For) -> Signal:
    iterable = run.dispatch[type(node.iter)](run, node.iter)
    iterable = run.resolve(iterable)
    items = containers.known_items(run, iterable)
    if items is not None and not items:
        return None
    unrolled = items is not None and (len(items) <= MAX_UNROLLED or all(map(_is_layer, items)))
    if unrolled and items is not None:
        binds = [_binder(run, node.target, item) for item in items]
    elif items is not None:
        binds = [_binder(run, node.target, item) for item in (*items[:3], items[-1])]
    else:
        binds = [lambda: bind(run, node.target, containers.element(run, iterable, node))] * 2
    signal = run.loop(Loop(node, iterable, run.clock, run.frame), binds, lambda: run_suite(run, node.body), unrolled)
    if signal is None and node.orelse is not None:
        return run_suite(run, node.orelse.body)
    return signal


def _is_layer(item: Value) -> bool:
    """Whether an item is a layer: a chain of them costs little, and each matters to the next."""
    return type(item) is Lib and item.kind == "layer"


def _binder(run: Machine, target: Any, item: Value) -> Callable[[], None]:
    return lambda: bind(run, target, item)


def _while(run: Machine, node: cst.While) -> Signal:
    endless = run.truth(run.dispatch[type(node.test)](run, node.test))
    if endless is False:
        return None
    test = lambda: _assume_test(run, node)  # noqa: E731
    loop = Loop(node, None, run.clock, run.frame)
    return run.loop(loop, [test, test], lambda: run_suite(run, node.body), unrolled=False)


def _assume_test(run: Machine, node: cst.While) -> None:
    run.dispatch[type(node.test)](run, node.test)


def _with(run: Machine, node: cst.With) -> Signal:
    grad, amp = run.grad, run.amp
    signal = _enter(run, node, 0)
    run.grad, run.amp = grad, amp
    return signal


def _enter(run: Machine, node: cst.With, index: int) -> Signal:
    """Enter the items of a `with` from `index` on, then run its body."""
    if index == len(node.items):
        return run_suite(run, node.body)
    item = node.items[index]
    manager = run.resolve(run.dispatch[type(item.item)](run, item.item))
    signals: list[Signal] = []

    def body(entered: Value) -> None:
        if item.asname is not None:
            bind(run, item.asname.name, entered)
        signals.append(_enter(run, node, index + 1))

    if type(manager) is Term and manager.op == "context manager":
        following.run_context_manager(run, manager, body)
    if not signals:
        body(contexts.enter_context(run, manager, item))
        contexts.leave_context(run, manager, item)
    return signals[0]


def _try(run: Machine, node: cst.Try) -> Signal:
    signal = run_suite(run, node.body)
    if signal == RAISE:
        signal = None
    elif signal is None and node.orelse is not None:
        signal = run_suite(run, node.orelse.body)
    for handler in node.handlers:
        if handler.name is not None:
            bind(run, handler.name.name, Term("exception"))
        handled = run.branch(Term("raised"), lambda h=handler: run_suite(run, h.body), lambda: None)  # type: ignore[misc]
        signal = None if handled is None and signal is None else signal
    if node.finalbody is not None:
        signal = run_suite(run, node.finalbody.body) or signal
    return signal


def _match(run: Machine, node: cst.Match) -> Signal:
    run.dispatch[type(node.subject)](run, node.subject)
    return _cases(run, node.cases)


def _cases(run: Machine, cases: Sequence[cst.MatchCase]) -> Signal:
    if not cases:
        return None
    return run.branch(Term("case"), lambda: run_suite(run, cases[0].body), lambda: _cases(run, cases[1:]))


def _return(run: Machine, node: cst.Return) -> Signal:
    value = NONE if node.value is None else run.dispatch[type(node.value)](run, node.value)
    run.frame.results.append((value, node, run.assumed))
    return RETURN


def _raise(run: Machine, node: cst.Raise) -> Signal:
    return RAISE


def _assert(run: Machine, node: cst.Assert) -> Signal:
    run.dispatch[type(node.test)](run, node.test)
    return None


def _delete(run: Machine, node: cst.Del) -> Signal:
    target = node.target
    for part in [element.value for element in target.elements] if type(target) is cst.Tuple else [target]:
        if type(part) is cst.Subscript:
            subscripts.delete_item(run, part)
        elif type(part) is cst.Attribute:
            receiver = run.dispatch[type(part.value)](run, part.value)
            objects.delete_attribute(run, receiver, part.attr.value, part)
    return None


def _global(run: Machine, node: cst.Global | cst.Nonlocal) -> Signal:
    scope = run.frame.scope
    scope.globals = (scope.globals or set()) | {item.name.value for item in node.names}
    return None


def _function(run: Machine, node: cst.FunctionDef) -> Signal:
    frame = run.frame
    function = Function(node, frame.source, _enclosing(frame.scope, run))
    evaluate = run.dispatch
    parameters = node.params
    for parameter in (*parameters.params, *parameters.kwonly_params, *parameters.posonly_params):
        if parameter.default is not None:
            function.defaults[parameter.name.value] = evaluate[type(parameter.default)](run, parameter.default)
    decorators = [evaluate[type(d.decorator)](run, d.decorator) for d in node.decorators]
    function.decorators = tuple(decorators)
    run.program.functions.append(function)
    run.assign(node.name.value, objects.decorated(run, function, node))
    return None


def _enclosing(scope: Scope, run: Machine) -> Scope:
    """Names of a class body are not seen by its methods."""
    return scope.parent if run.frame.is_class and scope.parent is not None else scope


def _class(run: Machine, node: cst.ClassDef) -> Signal:
    objects.define_class(run, node)
    return None


def _import(run: Machine, node: cst.Import) -> Signal:
    imports.import_names(run, node)
    return None


def _import_from(run: Machine, node: cst.ImportFrom) -> Signal:
    imports.import_from(run, node)
    return None


EXECUTE: dict[type, Callable[..., Signal]] = {
    cst.Expr: _expression,
    cst.Assign: _assign,
    cst.AnnAssign: _annotated,
    cst.AugAssign: _augmented,
    cst.If: _if,
    cst.For: _for,
    cst.While: _while,
    cst.With: _with,
    cst.Try: _try,
    cst.TryStar: _try,
    cst.Match: _match,
    cst.Return: _return,
    cst.Raise: _raise,
    cst.Assert: _assert,
    cst.Del: _delete,
    cst.Global: _global,
    cst.Nonlocal: _global,
    cst.FunctionDef: _function,
    cst.ClassDef: _class,
    cst.Import: _import,
    cst.ImportFrom: _import_from,
    cst.Pass: _nothing,
    cst.TypeAlias: _nothing,
    cst.Break: lambda run, node: BREAK,
    cst.Continue: lambda run, node: CONTINUE,
}
