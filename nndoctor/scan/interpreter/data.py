"""Loaders, datasets and other objects that yield or hold batches."""

from __future__ import annotations

from typing import Any

from nndoctor.scan.interpreter import calls, following
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Function, Instance, Lib, Term, Value


def batch(run: Machine, loader: Lib) -> Value:
    """What one iteration over a loader yields."""
    return run.pure("batch", loader)


def iterate_instance(run: Machine, instance: Instance, node: Any) -> Value:
    """What one iteration over an object of the project yields."""
    own = instance.cls.find("__iter__")
    if type(own) is Function:
        made = following.call_function(run, own.bind(instance), calls.Arguments(), node)
        if type(made) is Term and made.op == "generator":
            return made.inputs[0] if made.inputs else Term("unknown")
    return run.pure("element", instance)


def item_of_instance(run: Machine, instance: Instance, index: Value, node: Any) -> Value:
    """`instance[index]`."""
    own = instance.cls.find("__getitem__")
    if type(own) is Function:
        return following.call_function(run, own.bind(instance), calls.Arguments((index,)), node)
    return run.pure("item", instance, index)
