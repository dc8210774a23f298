"""Methods of tensors, unknown values and library objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    calls,
    contexts,
    data,
    dtypes,
    estimators,
    following,
    graph,
    kinds,
    library,
    library_models,
    modes,
    module_methods,
    options,
    paths,
    tensors,
    training,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import FALSE, LOSS, NONE, TRUE, Const, Function, Instance, Lib, Term, Value


def term_method(run: Machine, receiver: Term, name: str, args: Any, node: Any) -> Value:
    """A method of a tensor or of an unknown value."""
    if receiver.op == "path":
        return paths.method(run, receiver, name)
    if receiver.op == options.PARSER:
        told = options.method(run, receiver, name, args, node)
        if told is not None:
            return told
    if receiver.op == "super":
        return _of_super(run, receiver, name, args, node)
    if receiver.attrs is not None and name in receiver.attrs:
        return calls.call_value(run, run.read(receiver.attrs, name), args, node)
    protocol = _PROTOCOL.get(name)
    if protocol is not None:
        result = protocol(run, receiver, args, node)
        if result is not None:
            return result
    if name in ("items", "values"):
        return run.pure(name, receiver)
    if name == "forward":
        return calls.call_value(run, receiver, args, node)
    operation = torch_api.method_operation(name)
    whole = calls.Arguments((receiver, *args.positional), args.keywords)
    if operation is None or len(whole.all) < torch_api.operands(operation):
        return _unknown_method(run, receiver, name, args, node)
    if operation in torch_api.ARITHMETIC and args.positional:
        return library.arithmetic(run, operation, receiver, args.positional[0], node)
    if operation in torch_api.CASTS and kinds.is_model(receiver) and receiver.act is None:
        return receiver
    return tensors.operate(run, operation, whole, node)


def _unknown_method(run: Machine, receiver: Term, name: str, args: Any, node: Any) -> Value:
    for value in args.all:
        contexts.escape(run, value)
    if kinds.is_model(receiver) and not name.startswith("_"):
        contexts.escape(run, receiver)
    if name in ("add_module", "append", "insert", "extend"):
        library_models.change_part(run, receiver, NONE)
    if receiver.op == dtypes.IMAGE and dtypes.is_byte_image(run, name, args):
        return run.term(dtypes.IMAGE, (receiver, *args.all), node)
    return run.term("call", (run.pure("attribute", receiver, name), receiver, *args.all), node)


def _of_super(run: Machine, receiver: Term, name: str, args: Any, node: Any) -> Value:
    instance = run.resolve(receiver.inputs[0])
    after = receiver.info["after"] if receiver.info is not None else None
    if type(instance) is Instance:
        mro = instance.cls.mro
        start = mro.index(after) + 1 if after in mro else 1
        for cls in mro[start:]:
            member = cls.attrs.get(name)
            if type(member) is Function:
                if name == "forward":
                    return modes.forward(run, instance, member.bind(instance), args, node)
                return following.call_function(run, member.bind(instance), args, node)
        return module_methods.instance_method(run, instance, name, args, node)
    return run.term("call", (receiver, *args.all), node)


def _size(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    shape = tensors.shape_of(receiver)
    if shape is None or not args.all:
        return shape
    index = run.resolve(args.get(0, "dim"))
    return shape.dim(index.value) if type(index) is Const and type(index.value) is int else Term("size")


def _backward(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if receiver.op == "engine" or (
        args.positional and type(receiver) is Term and kinds.name_of(receiver) in _ENGINE_NAMES
    ):
        return _engine_backward(run, receiver, args, node)
    return training.backward(run, receiver, args, node)


_ENGINE_NAMES = frozenset(
    {"accelerator", "fabric", "engine", "model_engine", "ds_engine", "manager", "amp", "loss_scaler"}
)


def _engine_backward(run: Machine, receiver: Term, args: Any, node: Any) -> Value:
    for optimizer in run.optimizers:
        contexts.escape(run, optimizer)
    return NONE


def _step(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    given = list(kinds.optimizers_in(run, args.positional[0])) if args.positional else []
    if given:
        for optimizer in given:
            training.step(run, optimizer, node, receiver)
        return NONE
    if kinds.is_optimizer(receiver):
        return training.step(run, receiver, node, None, args)
    return None


def _zero_grad(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if kinds.is_optimizer(receiver):
        training.register(run, receiver)
        return training.reset(run, [receiver], node, receiver)
    return training.reset(run, list(run.optimizers), node, receiver)


def _zero(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if receiver.op in ("attribute", "data") and is_gradient(receiver):
        return training.reset(run, list(run.optimizers), node, receiver)
    return None


def _overwrite(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    """`p.grad.fill_(x)`, `p.grad.copy_(x)`: cleared with a zero, unknown with anything else."""
    cleared = _multiply(run, receiver, args, node)
    if cleared is None and is_gradient(receiver):
        training.forget_gradients(run, node)
    return cleared


def _multiply(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    """`p.grad.mul_(0)` clears; any other factor only scales."""
    operand = run.resolve(args.positional[0]) if args.positional else None
    if type(operand) is Const and operand.value == 0 and is_gradient(receiver):
        return training.reset(run, list(run.optimizers), node, receiver)
    return None


def is_gradient(term: Value) -> bool:
    """Whether a value is `p.grad`, or made of it."""
    if type(term) is not Term:
        return False
    return (term.op == "attribute" and term.inputs[-1] == "grad") or any(is_gradient(value) for value in term.inputs)


def _train(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if args.positional and type(run.resolve(args.positional[0])) not in (Const, Term):
        return None
    if len(args.all) > 1 or (args.all and not kinds.is_model(receiver)):
        return None
    modes.set_mode(run, receiver, args.get(0, "mode") or TRUE, node)
    return receiver


def _eval(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if args.all:
        return None
    modes.set_mode(run, receiver, FALSE, node)
    return receiver


def _parameters(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return run.pure("parameters", receiver)


def _scale(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if len(args.all) != 1 or "scaler" not in kinds.name_of(receiver).lower():
        return None
    return _scaled(run, receiver, args, node)


def _scaled(run: Machine, scaler: Value, args: Any, node: Any) -> Value:
    loss = run.resolve(args.all[0])
    return run.term("scaled", (loss,), node, LOSS, {"scaler": scaler})


def _unscale(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return training.unscale(run, args, node)


def _item(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return run.term("float number", (receiver,), node)


def _detach(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return None


def _clip_grad_norm(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    """`model.clip_grad_norm_(max_norm)` (FSDP), `accelerator.clip_grad_norm_(...)`: engines clip by themselves."""
    return run.term("norm", (receiver,), node)


_PROTOCOL: dict[str, Callable[[Machine, Term, Any, Any], Value | None]] = {
    "size": _size,
    "backward": _backward,
    "step": _step,
    "zero_grad": _zero_grad,
    "zero_": _zero,
    "fill_": _overwrite,
    "copy_": _overwrite,
    "mul_": _multiply,
    "train": _train,
    "eval": _eval,
    "parameters": _parameters,
    "named_parameters": _parameters,
    "scale": _scale,
    "unscale_": _unscale,
    "item": _item,
    "clip_grad_norm_": _clip_grad_norm,
}


def lib_method(run: Machine, receiver: Lib, name: str, args: Any, node: Any) -> Value:
    """A method of a library object, by its kind."""
    own = run.read(receiver.attrs, name)
    if own is not None and not name.startswith("$"):
        return calls.call_value(run, own, args, node)
    if name.startswith("register_step") and receiver.kind == "optimizer":
        training.forget_gradients(run, node)
    if name == "module" and receiver.kind in ("layer", "container", "model"):
        return calls.call_value(run, receiver, args, node)
    by_kind = _BY_KIND.get(receiver.kind, {}).get(name)
    if by_kind is not None:
        return by_kind(run, receiver, args, node)
    if receiver.kind == "generator":
        return data.draw(run, receiver, args, node)
    if receiver.kind in ("layer", "container", "model", "loss"):
        return module_methods.module_method(run, receiver, name, args, node)
    items = receiver.attrs.get("$items")
    if type(items) is dict and name in items:
        return calls.call_value(run, items[name], args, node)
    return run.term("call", (receiver, *args.all), node)


def _lib_step(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    return training.step(run, receiver, node, None, args)


def _lib_zero(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    shared = [o for o in run.optimizers if o is not receiver and graph.covers(run, receiver, o)]
    return training.reset(run, [receiver, *shared], node, receiver)


def _lib_scale(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    enabled = receiver.args.get("enabled")
    if enabled is not None and run.truth(enabled) is False:
        return args.all[0] if args.all else Term("unknown")
    return _scaled(run, receiver, args, node) if args.all else Term("unknown")


def _lib_scaler_step(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    for optimizer in kinds.optimizers_in(run, args.positional[0]) if args.positional else ():
        training.step(run, optimizer, node, receiver)
    return NONE


def _lib_unscale(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    return training.unscale(run, args, node)


def _lib_update(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    run.happen("update", node, receiver)
    return NONE


def _scheduler_step(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    run.happen("scheduler step", node, receiver, args=args)
    return NONE


_BY_KIND: dict[str, dict[str, Callable[[Machine, Lib, Any, Any], Value]]] = {
    "estimator": {
        "fit": estimators.fit,
        "transform": estimators.transform,
        "fit_transform": estimators.fit_transform,
    },
    "optimizer": {"step": _lib_step, "zero_grad": _lib_zero},
    "scaler": {"scale": _lib_scale, "step": _lib_scaler_step, "unscale_": _lib_unscale, "update": _lib_update},
    "scheduler": {"step": _scheduler_step},
}
