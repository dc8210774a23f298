"""Comprehensions and generator expressions: element by element where their sources are known."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import statements, tables
from nndoctor.scan.interpreter.containers import MAX_ITEMS, any_of, element, known_items
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.program import Loop
from nndoctor.scan.values import Container, Tuple, Value


def comprehension(run: Machine, node: Any) -> Value:
    """A list, set, dict or generator comprehension."""
    with run.inner_scope():
        results: list[Value] = []
        known = _run_clause(run, node, node.for_in, results, 1)
    if type(node) is cst.DictComp:
        return _dict(run, results, known)
    kind = "set" if type(node) is cst.SetComp else "list"
    if known:
        return run.born(Container(kind, tuple(results)))
    return run.born(Container(kind, (), any_of(run, tuple(results), node)))


def _dict(run: Machine, pairs: list[Value], known: bool) -> Value:
    keys = [run.resolve(pair.items[0]) for pair in pairs]
    if known and all(map(tables.is_key, keys)):
        return run.born(Container("dict", {k.value: pair.items[1] for k, pair in zip(keys, pairs, strict=True)}))
    return run.born(Container("dict", {}, pairs[0].items[1] if pairs else None))


def _run_clause(run: Machine, node: Any, clause: cst.CompFor, results: list[Value], times: int) -> bool:
    """Run one `for ... in ...`, itself run so many times; says whether the results are all there will be."""
    iterable = run.dispatch[type(clause.iter)](run, clause.iter)
    items = known_items(run, iterable)
    known = items is not None and times * len(items) <= MAX_ITEMS and not clause.ifs
    outer = run.loops
    loop = Loop(clause, iterable, run.clock, run.frame)
    loop.unrolled = known
    run.loops = (*outer, loop)
    values = items if known and items is not None else (element(run, iterable, node),)
    for value in values:
        statements.bind(run, clause.target, value)
        for condition in clause.ifs:
            run.assume(run.dispatch[type(condition.test)](run, condition.test), True)
        if clause.inner_for_in is not None:
            known = _run_clause(run, node, clause.inner_for_in, results, times * len(values)) and known
        else:
            results.append(_result(run, node))
    run.loops = outer
    return known


def _result(run: Machine, node: Any) -> Value:
    if type(node) is not cst.DictComp:
        return run.dispatch[type(node.elt)](run, node.elt)
    key = run.dispatch[type(node.key)](run, node.key)
    return Tuple((key, run.dispatch[type(node.value)](run, node.value)))
