"""The mode of models, and what their forward passes leave."""

from __future__ import annotations

from typing import Any

from nndoctor.scan.interpreter import (
    following,
    kinds,
    states,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.program import Event
from nndoctor.scan.values import (
    Choice,
    Container,
    Function,
    Instance,
    Lib,
    State,
    Term,
    Tuple,
    Value,
)


def mode(run: Machine, model: Value) -> Value:
    """The mode of a module; modules are made in train mode, unknown ones have an unknown mode."""
    found = run.read(states.cells(model), states.MODE)
    if found is not None:
        return run.resolve(found)
    return _MADE if type(model) in (Instance, Lib) else _NEVER_SET


_MADE, _NEVER_SET = State(states.TRAIN), State(states.UNKNOWN)  # modules are made in train mode


def set_mode(run: Machine, model: Value, flag: Value, node: Any) -> None:
    """`model.train(flag)`, `model.eval()`."""
    truth = run.truth(flag)
    new: Value = State(states.TRAIN if truth else states.EVAL, run.site(node))
    if truth is None:
        guard = flag if type(flag) is Term else Term("mode")
        new = Choice(guard, State(states.TRAIN, run.site(node)), State(states.EVAL, run.site(node)))
    run.happen("mode", node, model, mode=new, before=mode(run, model))
    for module in kinds.descendants(model):
        if type(module) in (Instance, Lib, Term):
            run.write(states.cells(module), states.MODE, new)


def forget(run: Machine, model: Value) -> None:
    """Nobody knows the mode of a model any more."""
    for module in kinds.descendants(model):
        if type(module) in (Instance, Lib, Term):
            run.write(states.cells(module), states.MODE, State(states.UNKNOWN))


def is_training(run: Machine, module: Value) -> Value:
    """`self.training`, as it is now."""
    if type(module) is Instance:
        run.program.mode_readers.add(module.cls)
    return run.pure("training", module, mode(run, module))


def forward(run: Machine, model: Instance, function: Function, args: Any, node: Any) -> Value:
    """`model(...)`: follow its forward, and note it if no other module's forward made the call."""
    run.in_forward += 1
    try:
        result = following.call_function(run, function, args, node)
    finally:
        run.in_forward -= 1
    return noted_forward(run, model, result, args, node)


def noted_forward(run: Machine, model: Value, result: Value, args: Any, node: Any) -> Value:
    """The output of a model as the code that called it sees it."""
    if run.in_forward:
        return result
    if type(model) in (Instance, Lib) and run.read(model.attrs, "$hooked") is not None:
        result = run.term("call", (result,), node)
    current = mode(run, model)
    event = run.happen("forward", node, model, mode=current, args=args.all, result=result)
    return _output(run, event, result)


def _output(run: Machine, event: Event, value: Value) -> Value:
    """What a forward gave, each tensor of it as an output of the model."""
    if type(value) is Term:
        operands = (value, event.subject, event.details["mode"], *event.details["args"])
        output = run.term("forward", operands, event.site.node, value.act, {"event": event})
        output.info = {"event": event}
        output.dtype, output.shape = value.dtype, value.shape
        output.attrs = value.attrs
        return output
    if type(value) is Tuple:
        return Tuple(tuple(_output(run, event, item) for item in value.items))
    if type(value) is Container and value.kind == "dict" and type(value.attrs["$items"]) is dict:
        items = {key: _output(run, event, item) for key, item in value.attrs["$items"].items()}
        return run.born(Container("dict", items, value.attrs.get("$rest")))
    return run.each(value, lambda leaf: _output(run, event, leaf)) if type(value) is Choice else value


def returned(run: Machine, function: Function, value: Value, node: Any) -> Value:
    """Mark a returned tensor that shows an activation, so that the evidence names the call."""
    if type(value) is Term and value.act is not None and value.act not in ("raw", "loss") and value.op != "returned":
        result = run.term("returned", (value,), node, value.act, {"function": function})
        result.dtype, result.shape = value.dtype, value.shape
        return result
    if type(value) is Tuple:
        return Tuple(tuple(returned(run, function, item, node) for item in value.items))
    return value
