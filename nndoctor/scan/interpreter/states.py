"""Protocol states: their names, where they are kept, and how they move."""

from __future__ import annotations

from typing import Any

from nndoctor.scan.interpreter.heap import INITIAL
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    State,
    Term,
    Value,
)

GRADS, CLIP, SCALE, MODE = "$grads", "$clip", "$scale", "$mode"


# Gradients of an optimizer's parameters: fresh after a backward, spent after a step; a backward on spent gradients
# makes them stale, a reset of fresh ones wipes them; a callee that cannot be followed makes them unknown.
CLEAN, FRESH, SPENT, STALE, WIPED, UNKNOWN = "clean", "fresh", "spent", "stale", "wiped", "unknown"


TRAIN, EVAL = "train", "eval"


def cells(value: Value) -> dict[Any, Any]:
    """The cells in which the protocol state of an object is kept."""
    if type(value) is Term and value.attrs is None:
        value.attrs = {}
    kept: dict[Any, Any] = value.attrs
    return kept


def state(run: Machine, value: Value, key: str) -> Value:
    """A protocol state; INITIAL before anything happened."""
    return run.resolve(run.read(cells(value), key) or INITIAL)


def names(run: Machine, value: Value) -> set[str]:
    """The names of the states that a state value can be."""
    return {leaf.name if type(leaf) is State else "?" for leaf in run.leaves(value)}


def turn(run: Machine, value: Value, key: str, table: dict[str, str], node: Any) -> None:
    """Move a protocol state by a table of transitions; what the table lacks stays."""
    site = run.site(node)

    def move(leaf: Value) -> Value:
        target = table.get(leaf.name)
        if target is None or target == leaf.name:
            return leaf
        moved = State(target, site)
        moved.before = leaf
        return moved

    before = state(run, value, key)
    after = run.each(before, move)
    if after is not before:
        run.write(cells(value), key, after)
