"""The training protocol: modes of models, gradients of optimizers, and the events a step consists of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import calls, graph
from nndoctor.scan.interpreter.heap import INITIAL
from nndoctor.scan.interpreter.machine import Frame, Machine
from nndoctor.scan.values import (
    FALSE,
    LOSS,
    TRUE,
    Api,
    Choice,
    Const,
    Container,
    Function,
    Instance,
    Lib,
    State,
    Term,
    Tuple,
    Value,
    leaves,
)

GRADS, CLIP, SCALE, MODE = "$grads", "$clip", "$scale", "$mode"
# Gradients of an optimizer's parameters: fresh after a backward, spent after a step; a backward on spent gradients
# makes them stale, a reset of fresh ones wipes them; a callee that cannot be followed makes them unknown.
CLEAN, FRESH, SPENT, STALE, WIPED, UNKNOWN = "clean", "fresh", "spent", "stale", "wiped", "unknown"
TRAIN, EVAL = "train", "eval"

_OPTIMIZER_NAME = re.compile(r"(^|_)(opt|optim|optimi[sz]er|solver)s?(_|\d|$)|optimi[sz]er$|^opt[A-Z]|_optim$", re.IGNORECASE)
_NOT_OPTIMIZER = re.compile(r"sched|scaler|args|config|option|param", re.IGNORECASE)
_MODEL_NAME = re.compile(r"(^|_)(model|net|network|encoder|decoder|generator|discriminator|critic|actor|policy|backbone|classifier)\d*(_|$)|net$|^(netG|netD|G|D)$|model$", re.IGNORECASE)


def name_of(value: Value) -> str:
    """The name an unknown value goes by: a parameter, an attribute or a global."""
    if type(value) is not Term:
        return ""
    if value.op == "parameter" and value.info is not None:
        return str(value.info["name"])
    if value.op in ("attribute", "name", "import") and value.inputs and isinstance(value.inputs[-1], str):
        return value.inputs[-1].rpartition(".")[2]
    return ""


def is_optimizer(value: Value) -> bool:
    """Whether a value is an optimizer, or an unknown one that is called so."""
    if type(value) is Lib:
        return value.kind == "optimizer"
    name = name_of(value)
    return bool(_OPTIMIZER_NAME.search(name)) and not _NOT_OPTIMIZER.search(name)


def is_module(value: Value) -> bool:
    """Whether a value is an object of a module class of the project."""
    return type(value) is Instance and value.cls.is_module


def is_model(value: Value) -> bool:
    """Whether a value is a module, or an unknown one that is called like a model."""
    if type(value) is Instance:
        return value.cls.is_module
    if type(value) is Lib:
        return value.kind in ("layer", "container", "model")
    if type(value) is Term and value.attrs is not None and MODE in value.attrs:
        return True
    return bool(_MODEL_NAME.search(name_of(value)))


def cells(value: Value) -> dict[Any, Any]:
    """The cells in which the protocol state of an object is kept."""
    if type(value) is Term and value.attrs is None:
        value.attrs = {}
    return value.attrs


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


# Optimizers -----------------------------------------------------------------------------------------------------------


def register(run: Machine, optimizer: Value) -> None:
    """Note an optimizer, so that backward passes reach it."""
    if not any(known is optimizer for known in run.optimizers):
        run.optimizers.append(optimizer)


def optimizers_in(run: Machine, value: Value, depth: int = 2) -> Iterator[Value]:
    """The optimizers that a value is or holds."""
    for leaf in run.leaves(value):
        if is_optimizer(leaf):
            yield leaf
        elif depth and type(leaf) in (Tuple, Container):
            for item in held(leaf):
                yield from optimizers_in(run, item, depth - 1)
        elif depth and type(leaf) is Instance and not leaf.cls.is_module:
            for item in list(leaf.attrs.values()):
                yield from optimizers_in(run, item, depth - 1)


def held(value: Value) -> tuple[Value, ...]:
    """The known items of a tuple, list or dict."""
    if type(value) is Tuple:
        return value.items
    items = value.attrs["$items"]
    rest = () if value.attrs.get("$rest") is None else (value.attrs["$rest"],)
    return (*(items.values() if type(items) is dict else items), *rest)


def backward(run: Machine, loss: Value, args: Any, node: Any) -> Value:
    """`loss.backward()`."""
    for leaf in run.leaves(loss):
        _mark_as_loss(leaf)
    fed = [o for o in run.optimizers if graph.feeds(run, loss, o)]
    run.happen(
        "backward", node, loss, optimizers=tuple((o, state(run, o, GRADS)) for o in fed), scaled=graph.is_scaled(loss),
        modes=tuple(graph.forwards(loss)), amp=run.amp,
    )  # fmt: skip
    scale = "scaled" if graph.is_scaled(loss) else "plain"
    for optimizer in fed:
        turn(run, optimizer, GRADS, {"initial": FRESH, CLEAN: FRESH, WIPED: FRESH, SPENT: STALE}, node)
        run.write(cells(optimizer), SCALE, State(scale, run.site(node)))
    return Const(None)


def _mark_as_loss(value: Value) -> None:
    """Whatever made it, what is back-propagated is a loss, and so are the terms that it is a sum of."""
    if type(value) is not Term:
        return
    if value.act is None:
        value.act = LOSS
    if value.op == "/":
        _mark_as_loss(value.inputs[0])
    weighted = value.op == "*" and any(map(_is_weight, value.inputs))
    if weighted or value.op in ("+", "-", "scaled", "returned", "neg"):
        for summand in value.inputs:
            _mark_as_loss(summand)


def _is_weight(value: Value) -> bool:
    """Whether a factor is a number from the configuration."""
    return type(value) is Const or (type(value) is Term and value.op in ("attribute", "parameter", "name", "import"))


def step(run: Machine, optimizer: Value, node: Any, scaler: Value | None = None, args: Any = None) -> Value:
    """`optimizer.step()`, or `scaler.step(optimizer)`; a closure is called first."""
    closure = args.get(0, "closure") if args is not None else None
    if closure is not None and type(run.resolve(closure)) is Function:
        calls.call_value(run, closure, calls.Arguments(), node)
    register(run, optimizer)
    run.happen(
        "step", node, optimizer, grads=state(run, optimizer, GRADS), clip=state(run, optimizer, CLIP), scaler=scaler,
        scale=state(run, optimizer, SCALE), closure=closure,
    )  # fmt: skip
    turn(run, optimizer, GRADS, dict.fromkeys(("initial", FRESH, STALE), SPENT), node)
    run.write(cells(optimizer), CLIP, State("none", run.site(node)))
    return Const(None)


def reset(run: Machine, optimizers: list[Value], node: Any, subject: Value) -> Value:
    """`zero_grad()` of an optimizer or a model, or any other way to clear gradients."""
    run.happen("reset", node, subject, optimizers=tuple((o, state(run, o, GRADS)) for o in optimizers))
    for optimizer in optimizers:
        turn(run, optimizer, GRADS, {"initial": CLEAN, SPENT: CLEAN, STALE: WIPED, FRESH: WIPED, UNKNOWN: CLEAN}, node)
    return Const(None)


def reset_model(run: Machine, model: Value, node: Any) -> Value:
    """`model.zero_grad()`."""
    return reset(run, [o for o in run.optimizers if graph.may_train(run, o, model)], node, model)


def clip(run: Machine, name: str, args: Any, node: Any) -> Value:
    """`clip_grad_norm_(parameters, max_norm)` and its kin."""
    parameters = args.get(0, "parameters")
    if parameters is None or is_unbounded(args.get(1, "max_norm")):
        return run.term("norm", args.all, node)
    owners = graph.owners(run, parameters)
    concerned = [o for o in run.optimizers if graph.concerns(run, o, owners)]
    site = run.site(node)
    run.happen(
        "clip", node, parameters, name=name, scaled_limit=_knows_scale(args.get(1, "max_norm")),
        optimizers=tuple((o, state(run, o, GRADS), state(run, o, SCALE)) for o in concerned),
    )  # fmt: skip
    for optimizer in concerned:
        found = names(run, state(run, optimizer, GRADS))
        if found <= {FRESH, STALE}:
            kind = "fresh"
        elif found <= {SPENT}:
            kind = "late"
        else:
            kind = "early" if found <= {"initial", CLEAN, WIPED} else "unknown"
        run.write(cells(optimizer), CLIP, State(kind, site))
    return run.term("norm", (parameters,), node)


def is_unbounded(limit: Value | None) -> bool:
    """A limit of infinity only measures the norm."""
    if type(limit) is Const:
        return limit.value == math.inf or str(limit.value).lower() in ("inf", "infinity")
    return type(limit) is Api and limit.name in ("math.inf", "numpy.inf", "torch.inf")


def _knows_scale(limit: Value | None) -> bool:
    """Whether the limit is multiplied by the scaler's scale instead of the gradients being divided by it."""
    return any(
        type(part) is Lib and part.kind == "scaler"
        for term in graph.ancestors(limit, through_cuts=True)
        for part in term.inputs
    )


def unscale(run: Machine, args: Any, node: Any) -> Value:
    """`scaler.unscale_(optimizer)`."""
    optimizer = args.get(0, "optimizer")
    for known in optimizers_in(run, optimizer) if optimizer is not None else ():
        register(run, known)
        run.happen("unscale", node, known)
        run.write(cells(known), SCALE, State("unscaled", run.site(node)))
    return Const(None)


# Modes ----------------------------------------------------------------------------------------------------------------


def children(module: Value) -> Iterator[Value]:
    """The modules directly inside a module."""
    attrs = getattr(module, "attrs", None) or {}
    for key, value in list(attrs.items()):
        if key == "$items":
            for item in value.values() if type(value) is dict else value:
                yield from leaves(item)
        elif type(value) is Choice or (key == "$rest" and value is not None):
            yield from (leaf for leaf in leaves(value) if is_model(leaf))
        elif type(value) in (Instance, Lib) and is_model(value):
            yield value


def descendants(module: Value, depth: int = 8) -> Iterator[Value]:
    """A module and all modules inside it."""
    yield module
    if depth and type(module) in (Instance, Lib):
        for child in children(module):
            yield from descendants(child, depth - 1)


def mode(run: Machine, model: Value) -> Value:
    """The mode of a module; modules are made in train mode, unknown ones have an unknown mode."""
    found = run.read(cells(model), MODE)
    if found is not None:
        return run.resolve(found)
    return _MADE if type(model) in (Instance, Lib) else _NEVER_SET


_MADE, _NEVER_SET = State(TRAIN), State(UNKNOWN)  # modules are made in train mode


def set_mode(run: Machine, model: Value, flag: Value, node: Any) -> None:
    """`model.train(flag)`, `model.eval()`."""
    truth = run.truth(flag)
    new: Value = State(TRAIN if truth else EVAL, run.site(node))
    if truth is None:
        guard = flag if type(flag) is Term else Term("mode")
        new = Choice(guard, State(TRAIN, run.site(node)), State(EVAL, run.site(node)))
    run.happen("mode", node, model, mode=new, before=mode(run, model))
    for module in descendants(model):
        if type(module) in (Instance, Lib, Term):
            run.write(cells(module), MODE, new)


def is_training(run: Machine, module: Value) -> Value:
    """`self.training`, as it is now."""
    if type(module) is Instance:
        run.program.mode_readers.add(module.cls)
    return run.pure("training", module, mode(run, module))


def forward(run: Machine, model: Instance, function: Function, args: Any, node: Any) -> Value:
    """`model(...)`: follow its forward, and note it if no other module's forward made the call."""
    run.in_forward += 1
    try:
        result = calls.call_function(run, function, args, node)
    finally:
        run.in_forward -= 1
    return noted_forward(run, model, result, args, node)


def noted_forward(run: Machine, model: Value, result: Value, args: Any, node: Any) -> Value:
    """The output of a model as the code that called it sees it."""
    if run.in_forward:
        return result
    current = mode(run, model)
    event = run.happen("forward", node, model, mode=current, args=args.all, result=result)

    def seen(value: Value) -> Value:
        if type(value) is Term:
            output = run.term("forward", (value, model, current, *args.all), node, value.act, {"event": event})
            output.info = {"event": event}
            output.dtype, output.shape = value.dtype, value.shape
            output.attrs = value.attrs
            return output
        if type(value) is Tuple:
            return Tuple(tuple(seen(item) for item in value.items))
        if type(value) is Container and value.kind == "dict" and type(value.attrs["$items"]) is dict:
            items = {key: seen(item) for key, item in value.attrs["$items"].items()}
            return run.born(Container("dict", items, value.attrs.get("$rest")))
        return run.each(value, seen) if type(value) is Choice else value

    return seen(result)


def returned(run: Machine, function: Function, value: Value, node: Any) -> Value:
    """Mark a returned tensor that shows an activation, so that the evidence names the call."""
    if type(value) is Term and value.act is not None and value.act not in ("raw", "loss") and value.op != "returned":
        result = run.term("returned", (value,), node, value.act, {"function": function})
        result.dtype, result.shape = value.dtype, value.shape
        return result
    if type(value) is Tuple:
        return Tuple(tuple(returned(run, function, item, node) for item in value.items))
    return value


# Escapes and contexts -----------------------------------------------------------------------------------------------


def escape(run: Machine, value: Value, depth: int = 2) -> None:
    """A value was handed to something that cannot be followed: its protocol state is unknown from now on."""
    kind = type(value)
    if kind is Choice:
        for leaf in run.leaves(value):
            escape(run, leaf, depth)
    elif is_optimizer(value):
        run.write(cells(value), GRADS, State(UNKNOWN))
        run.write(cells(value), CLIP, State(UNKNOWN))
        run.write(cells(value), SCALE, State(UNKNOWN))
    elif kind is Term or kind is Const:
        if is_model(value):
            _escape_model(run, value)
    elif is_model(value):
        _escape_model(run, value)
    elif depth and kind in (Tuple, Container):
        for item in held(value):
            escape(run, item, depth - 1)
    elif depth and kind is Instance:
        for item in list(value.attrs.values()):
            escape(run, item, depth - 1)


def _escape_model(run: Machine, model: Value) -> None:
    for optimizer in run.optimizers:
        if graph.may_train(run, optimizer, model):
            run.write(cells(optimizer), GRADS, State(UNKNOWN))
    for module in descendants(model):
        if type(module) in (Instance, Lib, Term):
            run.write(cells(module), MODE, State(UNKNOWN))


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
            return calls.call_function(run, enter.bind(manager), calls.Arguments(), item)
    return run.pure("entered", manager) if type(manager) is Term else manager


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
    run.program.instances.append(instance)


def attribute_set(run: Machine, receiver: Value, name: str, value: Value, node: Any) -> None:
    """`p.grad = None` clears gradients; any other value may be zero or a gradient."""
    if name != "grad":
        return
    if type(value) is Const and value.value is None:
        reset(run, list(run.optimizers), node, receiver)
    else:
        for optimizer in run.optimizers:
            run.write(cells(optimizer), GRADS, State(UNKNOWN, run.site(node)))


__all__ = ["Frame", "backward", "clip", "escape", "forward", "is_training", "mode", "reset", "set_mode", "step", "unscale"]
