"""Notes of statements that make a new value from the one before: sums that grow, and weights updated by hand."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Choice, Term, Value

MAX_DEPTH = 5  # operations between an update and the gradient in it, as in `w - lr * clip(w.grad) / batch`


def note_rebinding(run: Machine, node: cst.Assign, value: Value) -> None:
    """Note `x = x + y` and `w = w - lr * w.grad`."""
    name = node.targets[0].target.value  # type: ignore[attr-defined]
    if run.loops:
        _note_own_sum(run, name, value)
    if type(value) is Term and value.node is node.value and value.op in ("-", "+"):
        _note_update(run, node, run.lookup(name), value)


def note_augmented(run: Machine, node: cst.AugAssign, before: Value, operand: Value, result: Value) -> None:
    """Note `x += y` and `w -= lr * w.grad`."""
    if type(node.operator) is cst.AddAssign:
        _note_accumulation(run, node, before, operand, result)
    if type(result) is Term and result.op in ("-", "+"):
        _note_update(run, node, before, result)


def _note_own_sum(run: Machine, name: str, value: Value) -> None:
    """Remember `x = x + y`, also weighted as in a moving average."""
    totals = [t for t in run.leaves(value) if type(t) is Term and t.op == "+" and len(t.inputs) == 2]
    before = run.lookup(name) if totals else None
    old = {id(leaf) for leaf in run.leaves(before)}
    for total in totals:
        for own, other in (total.inputs, total.inputs[::-1]):
            parts = own.inputs if type(own) is Term and own.op == "*" else (own,)
            if any(id(part) in old for part in parts):
                _note_accumulation(run, total.node, before, other, total)
                break


def _note_accumulation(run: Machine, node: Any, before: Value, operand: Value, result: Value) -> None:
    """Remember that a value was added to one that was there before."""
    if run.loops and type(result) in (Term, Choice):
        run.note("accumulate", node, operand, before=before, result=result)


def _note_update(run: Machine, node: Any, before: Value, result: Term) -> None:
    """Remember that a weight was changed by its own gradient."""
    if type(before) is Term and result.inputs[0] is before and _has_gradient_of(before, result.inputs[1], MAX_DEPTH):
        run.note("weight update", node, before, result=result)


def _has_gradient_of(weight: Term, value: Value, depth: int) -> bool:
    if type(value) is not Term or not depth:
        return False
    if value.op == "attribute" and value.inputs[1] == "grad":
        return value.inputs[0] is weight
    return any(_has_gradient_of(weight, part, depth - 1) for part in value.inputs)
