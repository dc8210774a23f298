"""The training protocol: modes of models, gradients of optimizers, and the events a step consists of."""

from __future__ import annotations

import math
from typing import Any

from nndoctor.scan.interpreter import (
    calls,
    graph,
    kinds,
    states,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    LOSS,
    Api,
    Const,
    Function,
    Lib,
    State,
    Term,
    Value,
)


def register(run: Machine, optimizer: Value) -> None:
    """Note an optimizer, so that backward passes reach it."""
    if not any(known is optimizer for known in run.optimizers):
        run.optimizers.append(optimizer)


def backward(run: Machine, loss: Value, args: Any, node: Any) -> Value:
    """`loss.backward()`."""
    for leaf in run.leaves(loss):
        _mark_as_loss(leaf)
    fed = graph.fed(run, loss)
    run.happen(
        "backward",
        node,
        loss,
        optimizers=tuple((o, states.state(run, o, states.GRADS)) for o in fed),
        scaled=graph.is_scaled(loss),
        modes=tuple(graph.forwards(loss)),
        amp=run.amp,
        args=args,
    )
    scale = "scaled" if graph.is_scaled(loss) else "plain"
    for optimizer in fed:
        states.turn(
            run,
            optimizer,
            states.GRADS,
            {
                "initial": states.FRESH,
                states.CLEAN: states.FRESH,
                states.WIPED: states.FRESH,
                states.SPENT: states.STALE,
            },
            node,
        )
        run.write(states.cells(optimizer), states.SCALE, State(scale, run.site(node)))
    return Const(None)


def _mark_as_loss(loss: Value) -> None:
    """Whatever made it, what is back-propagated is a loss, and so are the terms that it is a sum of."""
    stack, seen = [loss], set()
    while stack:
        value = stack.pop()
        if type(value) is not Term or id(value) in seen:
            continue
        seen.add(id(value))
        if value.act is None:
            value.act = LOSS
        weighted = value.op == "*" and any(map(_is_weight, value.inputs))
        if weighted or value.op in ("+", "-", "scaled", "returned", "neg"):
            stack.extend(value.inputs)
        elif value.op == "/":
            stack.append(value.inputs[0])


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
        "step",
        node,
        optimizer,
        grads=states.state(run, optimizer, states.GRADS),
        clip=states.state(run, optimizer, states.CLIP),
        scaler=scaler,
        scale=states.state(run, optimizer, states.SCALE),
        closure=closure,
    )
    states.turn(
        run, optimizer, states.GRADS, dict.fromkeys(("initial", states.FRESH, states.STALE), states.SPENT), node
    )
    run.write(states.cells(optimizer), states.CLIP, State("none", run.site(node)))
    return Const(None)


def reset(run: Machine, optimizers: list[Value], node: Any, subject: Value) -> Value:
    """`zero_grad()` of an optimizer or a model, or any other way to clear gradients."""
    run.happen("reset", node, subject, optimizers=tuple((o, states.state(run, o, states.GRADS)) for o in optimizers))
    for optimizer in optimizers:
        states.turn(
            run,
            optimizer,
            states.GRADS,
            {
                "initial": states.CLEAN,
                states.SPENT: states.CLEAN,
                states.STALE: states.WIPED,
                states.FRESH: states.WIPED,
                states.UNKNOWN: states.CLEAN,
            },
            node,
        )
    return Const(None)


def forget_gradients(run: Machine, node: Any) -> None:
    """Gradients were changed by hand: whether they are clean, fresh or used is unknown."""
    for optimizer in run.optimizers:
        run.write(states.cells(optimizer), states.GRADS, State(states.UNKNOWN, run.site(node)))


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
        "clip",
        node,
        parameters,
        name=name,
        scaled_limit=_knows_scale(args.get(1, "max_norm")),
        optimizers=tuple(
            (o, states.state(run, o, states.GRADS), states.state(run, o, states.SCALE)) for o in concerned
        ),
    )
    for optimizer in concerned:
        found = states.names(run, states.state(run, optimizer, states.GRADS))
        if found <= {states.FRESH, states.STALE}:
            kind = "fresh"
        elif found <= {states.SPENT}:
            kind = "late"
        else:
            kind = "early" if found <= {"initial", states.CLEAN, states.WIPED} else "unknown"
        run.write(states.cells(optimizer), states.CLIP, State(kind, site))
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
    for known in kinds.optimizers_in(run, optimizer) if optimizer is not None else ():
        register(run, known)
        run.happen("unscale", node, known)
        run.write(states.cells(known), states.SCALE, State("unscaled", run.site(node)))
    return Const(None)
