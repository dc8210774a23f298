"""Calls into libraries: functions and classes by canonical name, methods by the kind of their receiver."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    builtin_calls,
    calls,
    contexts,
    data,
    dtypes,
    estimators,
    graph,
    kinds,
    layers,
    paths,
    special,
    tensors,
    training,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Api, Container, Lib, Term, Tuple, Value


def call_api(run: Machine, api: Api, args: Any, node: Any) -> Value:
    """Call a library name."""
    name = torch_api.canonical(api.name)
    if name.startswith("builtins."):
        return builtin_calls.call(run, name[9:], args, node)
    event = run.note("call", node, api, name=name, args=args, result=None)
    event.details["result"] = result = _called(run, api, name, args, node)
    return result


def _called(run: Machine, api: Api, name: str, args: Any, node: Any) -> Value:
    own = special.SPECIAL.get(name)
    if own is not None:
        return own(run, args, node)
    made = data.make(run, name, args, node) or estimators.make(run, name, args, node)
    if made is not None:
        return made
    root = name.partition(".")[0]
    if root in ("os", "sys", "pathlib"):
        return paths.call(run, name, args, node)
    if root in _TORCH_ROOTS:
        made = _call_torch(run, name, args, node)
        if made is not None:
            return made
    return _call_other(run, api, name, args, node)


_TORCH_ROOTS = frozenset(
    {
        "torch",
        "numpy",
        "torchvision",
        "timm",
        "torch_optimizer",
        "apex",
        "bitsandbytes",
        "pytorch_optimizer",
        "lion_pytorch",
        "transformers",
        "segmentation_models_pytorch",
        "efficientnet_pytorch",
        "pretrainedmodels",
        "einops",
    }
)


def _call_torch(run: Machine, name: str, args: Any, node: Any) -> Value | None:
    module, _, last = name.rpartition(".")
    if module == "torch.nn":
        return layers.make(run, name, args, node)
    if last in torch_api.OPTIMIZERS and module.startswith(torch_api.OPTIMIZER_MODULES):
        return _make_optimizer(run, name, args, node)
    if (parameters := torch_api.scheduler_parameters(name)) is not None:
        return _make_scheduler(run, name, parameters, args, node)
    if name in torch_api.CLIPS:
        return training.clip(run, name, args, node)
    if name in torch_api.SCALERS:
        return _make_scaler(run, name, args, node)
    if name.startswith(torch_api.LIBRARY_MODELS) and not last.endswith("_Weights"):
        parameters = ("pretrained",) if name.startswith("torchvision.") else ("model_name", "pretrained")
        return run.born(Lib(name, "model", layers.bound(args, parameters), run.frame.source, node))
    if module == "torch.nn.functional" and last in torch_api.LOSSES:
        return layers.call_loss(run, last, args, node)
    operation = torch_api.operation(name)
    if operation is None or len(args.all) < torch_api.operands(operation):
        return None
    if operation == "dropout":
        return _functional_dropout(run, args, node)
    if operation in torch_api.ARITHMETIC and len(args.positional) >= 2 and "dtype" not in args.keywords:
        return arithmetic(run, operation, args.positional[0], args.positional[1], node)
    return tensors.operate(run, operation, args, node)


def arithmetic(run: Machine, symbol: str, left: Value, right: Value, node: Any) -> Value:
    from nndoctor.scan.interpreter.operators import arithmetic

    return arithmetic(run, symbol, run.resolve(left), run.resolve(right), node)


def _functional_dropout(run: Machine, args: Any, node: Any) -> Value:
    first = run.resolve(args.get(0, "input") or Term("unknown"))
    switched = args.open or args.get(2, "training") is not None
    run.note("functional dropout", node, first, rate=args.get(1, "p"), switched=switched)
    result = run.term("dropout", (first, *args.positional[1:]), node, info={"args": args})
    result.act = tensors.act_of(run, "dropout", first)
    if type(first) is Term:
        result.shape = first.shape
    return result


def _call_other(run: Machine, api: Api, name: str, args: Any, node: Any) -> Value:
    if name.startswith(torch_api.ENGINES):
        for value in args.all:
            contexts.escape(run, value)
        run.program.engines.add(name)
        return run.term("engine", (api, *args.all), node)
    if not name.startswith(torch_api.HARMLESS):
        return calls.unknown_call(run, api, args, node)
    result = run.term("call", (api, *args.all), node)
    result.dtype = dtypes.of_call(run, name, args)
    return result


def _make_optimizer(run: Machine, name: str, args: Any, node: Any) -> Value:
    optimizer = Lib(name, "optimizer", layers.bound(args, ("params", "lr")), run.frame.source, node)
    run.born(optimizer)
    training.register(run, optimizer)
    run.note("optimizer", node, optimizer, args=args, trained=graph.trained_by(run, optimizer))
    return optimizer


def _make_scheduler(run: Machine, name: str, parameters: tuple[str, ...], args: Any, node: Any) -> Value:
    scheduler = Lib(name, "scheduler", layers.bound(args, parameters), run.frame.source, node)
    for part in scheduler.args.values():  # the schedules that it runs are not stepped by themselves
        for leaf in run.leaves(part):
            held = kinds.held(leaf) if type(leaf) in (Tuple, Container) else ()
            run.program.handed.update((id(value), value) for value in held)
    run.note("scheduler", node, scheduler, args=args)
    return run.born(scheduler)


def _make_scaler(run: Machine, name: str, args: Any, node: Any) -> Value:
    return run.born(Lib(name, "scaler", layers.bound(args, ()), run.frame.source, node))
