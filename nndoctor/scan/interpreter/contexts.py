"""What surrounds code: `with` items, decorators, and callees that cannot be followed."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import calls, following, graph, kinds, methods, modes, noting, states, training
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    FALSE,
    NONE,
    Api,
    Choice,
    Const,
    Container,
    Function,
    Instance,
    Lib,
    Method,
    State,
    Term,
    Tuple,
    Value,
)


def escape(run: Machine, value: Value, depth: int = 2) -> None:
    """A value was handed to something that cannot be followed: its protocol state is unknown from now on."""
    kind = type(value)
    run.program.handed[id(value)] = value
    if kind is Method:
        run.program.handed[id(value.receiver)] = value.receiver
    if kind is Choice:
        for leaf in run.leaves(value):
            escape(run, leaf, depth)
    elif kinds.is_optimizer(value):
        run.write(states.cells(value), states.GRADS, State(states.UNKNOWN))
        run.write(states.cells(value), states.CLIP, State(states.UNKNOWN))
        run.write(states.cells(value), states.SCALE, State(states.UNKNOWN))
    elif kind is Term or kind is Const:
        if kinds.is_model(value):
            _escape_model(run, value)
    elif kinds.is_model(value):
        _escape_model(run, value)
    elif depth and kind in (Tuple, Container):
        for item in kinds.held(value):
            escape(run, item, depth - 1)
    elif depth and kind is Instance:
        for item in list(value.attrs.values()):
            escape(run, item, depth - 1)


def _escape_model(run: Machine, model: Value) -> None:
    for optimizer in run.optimizers:
        if graph.may_train(run, optimizer, model):
            run.write(states.cells(optimizer), states.GRADS, State(states.UNKNOWN))
            run.write(states.cells(optimizer), states.SCALE, State(states.UNKNOWN))
    modes.forget(run, model)


def enter_context(run: Machine, manager: Value, item: cst.WithItem) -> Value:
    """Enter a `with` item; returns what `as` binds."""
    manager = run.resolve(manager)
    if type(manager) is Term and manager.info is not None:
        if "grad" in manager.info:
            run.grad = manager.info["grad"]
        if "amp" in manager.info:
            run.amp = manager.info["amp"]
    if type(manager) is Choice and any(
        type(leaf) is Term and leaf.info is not None and "grad" in leaf.info for leaf in run.leaves(manager)
    ):
        run.grad = Term("grad mode")
    if type(manager) is Instance:
        enter = manager.cls.find("__enter__")
        if type(enter) is Function:
            return following.call_function(run, enter.bind(manager), calls.Arguments(), item)
    return run.pure("entered", manager) if type(manager) is Term else manager


def leave_context(run: Machine, manager: Value, item: cst.WithItem) -> None:
    """Leave a `with` item of the project: its `__exit__` runs however the body ended."""
    if type(manager) is Instance:
        leave = manager.cls.find("__exit__")
        if type(leave) is Function:
            following.call_function(run, leave.bind(manager), calls.Arguments((NONE, NONE, NONE)), item)


def forget_since(run: Machine, told: int, node: cst.CSTNode) -> None:
    """A generator's body runs item by item with the loop over it: what it did to gradients and modes is unknown."""
    events = run.program.events[told:]
    if any(event.kind in ("reset", "step", "backward") for event in events):
        training.forget_gradients(run, node)
    for event in events:
        if event.kind == "mode":
            modes.forget(run, event.subject)


def decorated(function: Function, context: Term) -> Function:
    """A function that runs in a context: `torch.no_grad()(function)`."""
    wrapped = Function(function.node, function.source, function.scope, function.owner)
    wrapped.receiver, wrapped.defaults, wrapped.attrs = function.receiver, function.defaults, function.attrs
    wrapped.decorators = (*function.decorators, context)
    return wrapped


def enter_function(run: Machine, function: Function) -> None:
    """Heed decorators that switch the graph off."""
    for decorator in function.decorators:
        if type(decorator) is Api and decorator.name in torch_api.NO_GRAD:
            run.grad = FALSE
        elif type(decorator) is Term and decorator.info is not None and "grad" in decorator.info:
            run.grad = decorator.info["grad"]


def made(run: Machine, instance: Instance, node: Any) -> None:
    """An object of a project class came to be."""
    run.program.instances.setdefault(instance.cls, []).append(instance)
    noting.made(run, instance, node)


def attribute_set(run: Machine, receiver: Value, name: str, value: Value, node: Any) -> None:
    """`p.grad = None` clears gradients, another value may be zero or a gradient; `m.training = x` is a mode."""
    if name == "training":
        for model in _models_behind(receiver):
            modes.forget(run, model)
    elif name == "grad" and type(value) is Const and value.value is None:
        training.reset(run, list(run.optimizers), node, receiver)
    elif (name == "grad" or (name == "data" and methods.is_gradient(receiver))) and not _adds_to_gradient(run, value):
        training.forget_gradients(run, node)


def _adds_to_gradient(run: Machine, value: Value) -> bool:
    """Whether a gradient is only added to, as in `p.grad.data += decay * p.data`."""
    return all(
        type(leaf) is Term and leaf.op in ("+", "-") and methods.is_gradient(leaf.inputs[0])
        for leaf in run.leaves(value)
    )


def _models_behind(value: Value, depth: int = 3) -> list[Value]:
    """A module, or the one whose `modules()` an unknown value is an element of."""
    if kinds.is_module(value) or type(value) is Lib:
        return [value]
    if type(value) is not Term or not depth:
        return []
    return [model for part in value.inputs for model in _models_behind(part, depth - 1)]
