"""Calls into libraries: functions and classes by canonical name, methods by the kind of their receiver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    builtin_calls,
    calls,
    copies,
    dtypes,
    graph,
    layers,
    paths,
    sequences,
    subscripts,
    tensors,
    training,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import FALSE, LOSS, NONE, TRUE, Api, Const, Function, Instance, Lib, Term, Tuple, Value

# Functions ----------------------------------------------------------------------------------------------------------------

Special = Callable[[Machine, Any, Any], Value]


def call_api(run: Machine, api: Api, args: Any, node: Any) -> Value:
    """Call a library name."""
    name = torch_api.canonical(api.name)
    if name.startswith("builtins."):
        return builtin_calls.call(run, name[9:], args, node)
    special = _SPECIAL.get(name)
    if special is not None:
        return special(run, args, node)
    root = name.partition(".")[0]
    if root in ("os", "sys", "pathlib"):
        return paths.call(run, name, args, node)
    if root in _TORCH_ROOTS:
        made = _call_torch(run, name, args, node)
        if made is not None:
            return made
    return _call_other(run, api, name, args, node)


_TORCH_ROOTS = frozenset({"torch", "numpy", "torchvision", "timm", "torch_optimizer", "apex", "bitsandbytes", "pytorch_optimizer",
                          "lion_pytorch", "transformers", "segmentation_models_pytorch", "efficientnet_pytorch", "pretrainedmodels"})  # fmt: skip


def _call_torch(run: Machine, name: str, args: Any, node: Any) -> Value | None:
    module, _, last = name.rpartition(".")
    if module == "torch.nn":
        return layers.make(run, name, args, node)
    if last in torch_api.OPTIMIZERS and module.startswith(torch_api.OPTIMIZER_MODULES):
        return _make_optimizer(run, name, args, node)
    if module.startswith("torch.optim.lr_scheduler"):
        return run.born(Lib(name, "scheduler", layers.bound(args, ("optimizer",)), run.frame.source, node))  # type: ignore[no-any-return]
    if name in torch_api.CLIPS:
        return training.clip(run, name, args, node)
    if name in torch_api.SCALERS:
        return _make_scaler(run, name, args, node)
    if name.startswith(torch_api.LIBRARY_MODELS) and not last.endswith("_Weights"):
        return run.born(Lib(name, "model", dict(args.keywords), run.frame.source, node))  # type: ignore[no-any-return]
    if module == "torch.nn.functional" and last in torch_api.LOSSES:
        return layers.call_loss(run, last, args, node)
    operation = torch_api.operation(name)
    if operation is None:
        return None
    if operation == "dropout":
        return _functional_dropout(run, args, node)
    if operation in ("+", "-", "*", "/", "@", "**") and len(args.positional) >= 2:
        return _arithmetic(run, operation, args.positional[0], args.positional[1], node)
    return tensors.operate(run, operation, args, node)


def _arithmetic(run: Machine, symbol: str, left: Value, right: Value, node: Any) -> Value:
    from nndoctor.scan.interpreter.operators import arithmetic

    result = arithmetic(run, symbol, run.resolve(left), run.resolve(right), node)
    if symbol == "@" and result.shape is None:
        result.shape = tensors.shape_rules.of_operation(run, "@", run.resolve(left), calls.Arguments((left, right)), node)
    return result


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
            training.escape(run, value)
        run.program.engines.add(name)
        return run.term("engine", (api, *args.all), node)
    if not name.startswith(torch_api.HARMLESS):
        return calls.unknown_call(run, api, args, node)
    result = run.term("call", (api, *args.all), node)
    result.dtype = dtypes.of_call(name)
    return result


def _make_optimizer(run: Machine, name: str, args: Any, node: Any) -> Value:
    optimizer = Lib(name, "optimizer", layers.bound(args, ("params", "lr")), run.frame.source, node)
    run.born(optimizer)
    training.register(run, optimizer)
    run.note("optimizer", node, optimizer, args=args)
    return optimizer


def _make_scaler(run: Machine, name: str, args: Any, node: Any) -> Value:
    return run.born(Lib(name, "scaler", layers.bound(args, ()), run.frame.source, node))  # type: ignore[no-any-return]


def _context(key: str, value: Value) -> Special:
    def enter(run: Machine, args: Any, node: Any) -> Value:
        if args.positional and type(args.positional[0]) is Function:  # used as a decorator without parentheses
            return args.positional[0]
        return Term("context", (), None, node, None, {key: value})

    return enter


def _inference_mode(run: Machine, args: Any, node: Any) -> Value:
    flag = run.resolve(args.get(0, "mode") or TRUE)
    if type(flag) is Const:
        return Term("context", (), None, node, None, {"grad": FALSE if flag.value else run.grad})
    return flag if type(flag) is Function else Term("context", (), None, node, None, {"grad": Term("grad mode")})


def _set_grad(run: Machine, args: Any, node: Any) -> Value:
    flag = args.get(0, "mode") or TRUE
    truth = run.truth(flag)
    run.grad = run.pure("grad mode", flag) if truth is None else TRUE if truth else FALSE
    return Term("context", (), None, node, None, {"grad": run.grad})


def _autocast(run: Machine, args: Any, node: Any) -> Value:
    return Term("context", (), None, node, None, {"amp": TRUE})


def _first_argument(run: Machine, args: Any, node: Any) -> Value:
    return args.positional[0] if args.positional else next(iter(args.all), Term("unknown"))


def _partial(run: Machine, args: Any, node: Any) -> Value:
    return Term("partial", args.all, run.frame.source, node, None, {"args": args})


def _ordered_dict(run: Machine, args: Any, node: Any) -> Value:
    if not args.positional:
        return builtin_calls.call(run, "dict", args, node)
    return run.term("ordered dict", args.positional, node)


def _device(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("device", *args.positional)


def _image(run: Machine, args: Any, node: Any) -> Value:
    return run.term("image", args.all, node)


def _packed(run: Machine, args: Any, node: Any) -> Value:
    return run.term("pack_padded_sequence", args.all, node)


def _padded(run: Machine, args: Any, node: Any) -> Value:
    output = run.term("pad_packed_sequence", args.all, node)
    return Tuple((output, run.pure("lengths", output)))


def _checkpoint(run: Machine, args: Any, node: Any) -> Value:
    """`checkpoint(function, *args)`: the function called."""
    if not args.positional:
        return Term("unknown")
    return calls.call_value(run, args.positional[0], calls.Arguments(args.positional[1:]), node)


def _focal_loss(run: Machine, args: Any, node: Any) -> Value:
    return layers.call_loss(run, "sigmoid_focal_loss", args, node)


def _attention(run: Machine, args: Any, node: Any) -> Value:
    """`scaled_dot_product_attention(q, k, v, mask, dropout_p)`: the shape of q with the last dimension of v."""
    query, value = (run.resolve(args.get(i, name) or NONE) for i, name in ((0, "query"), (2, "value")))
    rate = args.get(4, "dropout_p")
    if rate is not None:
        run.note("functional dropout", node, query, rate=rate, switched=False)
    result = run.term("sdpa", args.all, node)
    dims = [tensor.shape.dims if type(tensor) is Term and tensor.shape is not None else None for tensor in (query, value)]
    if result.shape is None and dims[0] is not None and dims[1] is not None:
        result.shape = Shape((*dims[0][:-1], dims[1][-1]))
    return result


def _backward_of(run: Machine, args: Any, node: Any) -> Value:
    return training.backward(run, args.get(0, "tensors") or Term("unknown"), args, node)


_SPECIAL: dict[str, Special] = {
    "torchvision.ops.sigmoid_focal_loss": _focal_loss, "torchvision.ops.focal_loss.sigmoid_focal_loss": _focal_loss,
    "torch.nn.functional.scaled_dot_product_attention": _attention,
    "torch.no_grad": _context("grad", FALSE), "torch.autograd.no_grad": _context("grad", FALSE), "torch.enable_grad": _context("grad", TRUE),
    "torch.autograd.enable_grad": _context("grad", TRUE), "torch.inference_mode": _inference_mode, "torch.autograd.inference_mode": _inference_mode,
    "torch.set_grad_enabled": _set_grad, "torch.autograd.set_grad_enabled": _set_grad, "torch.autocast": _autocast, "torch.amp.autocast": _autocast,
    "torch.cpu.amp.autocast": _autocast, "torch.compile": _first_argument, "torch.jit.script": _first_argument, "torch.jit.trace": _first_argument,
    "torch.nn.DataParallel": _first_argument, "torch.nn.parallel.DataParallel": _first_argument, "torch.nn.parallel.DistributedDataParallel": _first_argument,
    "torch.distributed.fsdp.FullyShardedDataParallel": _first_argument, "torch.nn.SyncBatchNorm.convert_sync_batchnorm": _first_argument,
    "torch.nn.utils.weight_norm": _first_argument, "torch.nn.utils.spectral_norm": _first_argument, "torch.nn.utils.parametrizations.weight_norm": _first_argument,
    "torch.nn.utils.parametrizations.spectral_norm": _first_argument, "torch.autograd.Variable": _first_argument, "torch.nn.Parameter": _first_argument,
    "copy.deepcopy": copies.deep_copy, "copy.copy": copies.shallow_copy, "functools.partial": _partial, "collections.OrderedDict": _ordered_dict, "torch.device": _device,
    "PIL.Image.open": _image, "torch.nn.utils.rnn.pack_padded_sequence": _packed, "torch.nn.utils.rnn.pack_sequence": _packed,
    "torch.nn.utils.rnn.pad_packed_sequence": _padded, "torch.utils.checkpoint.checkpoint": _checkpoint, "torch.autograd.backward": _backward_of,
    "tqdm.tqdm": _first_argument, "tqdm.auto.tqdm": _first_argument, "tqdm.notebook.tqdm": _first_argument, "tqdm.autonotebook.tqdm": _first_argument,
    "tqdm.tqdm_notebook": _first_argument, "rich.progress.track": _first_argument, "functools.wraps": lambda run, args, node: Term("call"),
    "typing.cast": lambda run, args, node: args.positional[-1] if args.positional else NONE,
}  # fmt: skip

# Methods --------------------------------------------------------------------------------------------------------------------


def term_method(run: Machine, receiver: Term, name: str, args: Any, node: Any) -> Value:
    """A method of a tensor or of an unknown value."""
    if receiver.op == "path":
        return paths.method(run, receiver, name)
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
    if operation is None:
        return _unknown_method(run, receiver, name, args, node)
    if operation in ("+", "-", "*", "/", "@", "**") and args.positional:
        return _arithmetic(run, operation, receiver, args.positional[0], node)
    whole = calls.Arguments((receiver, *args.positional), args.keywords)
    if operation in torch_api.CASTS and training.is_model(receiver) and receiver.act is None:
        return receiver
    return tensors.operate(run, operation, whole, node)


def _unknown_method(run: Machine, receiver: Term, name: str, args: Any, node: Any) -> Value:
    for value in args.all:
        training.escape(run, value)
    if training.is_model(receiver) and not name.startswith("_"):
        training.escape(run, receiver)
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
                    return training.forward(run, instance, member.bind(instance), args, node)
                return calls.call_function(run, member.bind(instance), args, node)
        return instance_method(run, instance, name, args, node)
    return run.term("call", (receiver, *args.all), node)


def _size(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    shape = tensors.shape_of(receiver)
    if shape is None or not args.all:
        return shape
    index = run.resolve(args.get(0, "dim"))
    return shape.dim(index.value) if type(index) is Const and type(index.value) is int else Term("size")


def _backward(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if receiver.op == "engine" or (args.positional and type(receiver) is Term and training.name_of(receiver) in _ENGINE_NAMES):
        return _engine_backward(run, receiver, args, node)
    return training.backward(run, receiver, args, node)


_ENGINE_NAMES = frozenset({"accelerator", "fabric", "engine", "model_engine", "ds_engine", "manager", "amp", "loss_scaler"})


def _engine_backward(run: Machine, receiver: Term, args: Any, node: Any) -> Value:
    for optimizer in run.optimizers:
        training.escape(run, optimizer)
    return NONE


def _step(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    given = list(training.optimizers_in(run, args.positional[0])) if args.positional else []
    if given:
        for optimizer in given:
            training.step(run, optimizer, node, receiver)
        return NONE
    if training.is_optimizer(receiver):
        return training.step(run, receiver, node, None, args)
    return None


def _zero_grad(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if training.is_optimizer(receiver):
        training.register(run, receiver)
        return training.reset(run, [receiver], node, receiver)
    return training.reset(run, list(run.optimizers), node, receiver)


def _zero(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if receiver.op in ("attribute", "data") and _is_gradient(receiver):
        return training.reset(run, list(run.optimizers), node, receiver)
    return None


def _is_gradient(term: Value) -> bool:
    if type(term) is not Term:
        return False
    return (term.op == "attribute" and term.inputs[-1] == "grad") or any(_is_gradient(value) for value in term.inputs)


def _train(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if args.positional and type(run.resolve(args.positional[0])) not in (Const, Term):
        return None
    if len(args.all) > 1 or (args.all and not training.is_model(receiver)):
        return None
    training.set_mode(run, receiver, args.get(0, "mode") or TRUE, node)
    return receiver


def _eval(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if args.all:
        return None
    training.set_mode(run, receiver, FALSE, node)
    return receiver


def _parameters(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return run.pure("parameters", receiver)


def _scale(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    if len(args.all) != 1 or "scaler" not in training.name_of(receiver).lower():
        return None
    return _scaled(run, args, node)


def _scaled(run: Machine, args: Any, node: Any) -> Value:
    loss = run.resolve(args.all[0])
    return run.term("scaled", (loss,), node, LOSS)


def _unscale(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return training.unscale(run, args, node)


def _item(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    result = run.term("item", (receiver,), node)
    return result


def _detach(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    return None


def _clip_grad_norm(run: Machine, receiver: Term, args: Any, node: Any) -> Value | None:
    """`model.clip_grad_norm_(max_norm)` (FSDP), `accelerator.clip_grad_norm_(...)`: engines clip by themselves."""
    return run.term("norm", (receiver,), node)


_PROTOCOL: dict[str, Callable[[Machine, Term, Any, Any], Value | None]] = {
    "size": _size, "backward": _backward, "step": _step, "zero_grad": _zero_grad, "zero_": _zero, "train": _train, "eval": _eval,
    "parameters": _parameters, "named_parameters": _parameters, "scale": _scale, "unscale_": _unscale, "item": _item, "clip_grad_norm_": _clip_grad_norm,
}  # fmt: skip


def lib_method(run: Machine, receiver: Lib, name: str, args: Any, node: Any) -> Value:
    """A method of a library object, by its kind."""
    own = run.read(receiver.attrs, name)
    if own is not None and not name.startswith("$"):
        return calls.call_value(run, own, args, node)
    by_kind = _BY_KIND.get(receiver.kind, {}).get(name)
    if by_kind is not None:
        return by_kind(run, receiver, args, node)
    if receiver.kind in ("layer", "container", "model", "loss"):
        return module_method(run, receiver, name, args, node)
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
    return _scaled(run, args, node) if args.all else Term("unknown")


def _lib_scaler_step(run: Machine, receiver: Lib, args: Any, node: Any) -> Value:
    for optimizer in training.optimizers_in(run, args.positional[0]) if args.positional else ():
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
    "optimizer": {"step": _lib_step, "zero_grad": _lib_zero},
    "scaler": {"scale": _lib_scale, "step": _lib_scaler_step, "unscale_": _lib_unscale, "update": _lib_update},
    "scheduler": {"step": _scheduler_step},
}


def instance_method(run: Machine, instance: Instance, name: str, args: Any, node: Any) -> Value:
    """A method that a project object has from a library class."""
    if name == "__init__":
        initialise_base(run, instance, args, node)
        return NONE
    if instance.cls.is_module:
        return module_method(run, instance, name, args, node)
    if name in ("step", "zero_grad") and any(root.startswith("torch.optim") for root in instance.cls.roots):
        return run.term("call", (instance, *args.all), node)
    return calls.unknown_call(run, run.pure("attribute", instance, name), args, node)


def knows_method(instance: Instance, name: str) -> bool:
    """Whether a method that the project does not define comes from a library class we know."""
    return instance.cls.is_module and name in torch_api.MODULE_METHODS


def initialise_base(run: Machine, instance: Instance, args: Any, node: Any) -> None:
    """`super().__init__(...)` that reaches a library class: containers take their children."""
    for root in instance.cls.roots:
        name = root.rpartition(".")[2]
        if root.startswith("torch.nn.") and name in torch_api.CONTAINERS:
            layers.fill(run, instance, name, args, node)


def module_method(run: Machine, module: Value, name: str, args: Any, node: Any) -> Value:
    """A method of torch.nn.Module."""
    if name in ("train", "eval"):
        training.set_mode(run, module, FALSE if name == "eval" else args.get(0, "mode") or TRUE, node)
        return module
    if name == "zero_grad":
        return training.reset_model(run, module, node)
    if name in ("parameters", "named_parameters"):
        return run.pure("parameters", module)
    if name in _RETURNS_ITSELF:
        return module
    if name in ("forward", "__call__"):
        return calls.call_value(run, module, args, node)
    return _module_parts(run, module, name, args, node)


_RETURNS_ITSELF = frozenset("to cuda cpu float half double bfloat16 apply requires_grad_ type share_memory xpu compile".split())


def _module_parts(run: Machine, module: Value, name: str, args: Any, node: Any) -> Value:
    if name in ("add_module", "register_module") and len(args.positional) > 1:
        _add_module(run, module, args)
        return NONE
    if name in subscripts.CHANGES and module.attrs.get("$items") is not None:
        return subscripts.change_modules(run, module, name, args, node)
    if name in ("children", "modules", "named_children", "named_modules", "items", "values"):
        return run.pure("element", module) if name.startswith("named") or name == "items" else run.term("modules", (module,), node)
    if name == "register_buffer" and len(args.positional) > 1 and type(args.positional[0]) is Const:
        run.write(module.attrs, args.positional[0].value, args.positional[1])
    return run.term("call", (run.pure("attribute", module, name), *args.all), node)


def _add_module(run: Machine, module: Value, args: Any) -> None:
    name, child = run.resolve(args.positional[0]), args.positional[1]
    if module.attrs.get("$items") is not None and type(module.attrs["$items"]) is tuple:
        sequences.append(run, module, child)
    elif type(name) is Const:
        run.write(module.attrs, name.value, child)
    else:
        run.write(module.attrs, "$rest", child)
