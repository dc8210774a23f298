"""Library functions that mean more to the analysis than an operation on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import (
    builtin_calls,
    calls,
    copies,
    dtypes,
    layer_shapes,
    layers,
    module_methods,
    noting,
    options,
    training,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import FALSE, NONE, TRUE, Const, Function, Instance, Term, Tuple, Value

Special = Callable[[Machine, Any, Any], Value]


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
    old = args.positional[:1] if args.positional and not _is_text(args.positional[0]) else ()  # torch.cuda.amp's
    enabled = run.resolve(args.get(2, "enabled") or next(iter(old), TRUE))
    return Term("context", (), None, node, None, {"amp": enabled})


def _is_text(value: Value) -> bool:
    return type(value) is not Const or isinstance(value.value, str)


def _first_argument(run: Machine, args: Any, node: Any) -> Value:
    return args.positional[0] if args.positional else next(iter(args.all), Term("unknown"))


def _parameter(run: Machine, args: Any, node: Any) -> Value:
    """`nn.Parameter(data)`: a tensor that a module registers."""
    data = run.resolve(_first_argument(run, args, node))
    made = run.term(noting.PARAMETER, args.all, node, info={"args": args})
    if type(data) is Term:
        made.act, made.dtype, made.shape = data.act, data.dtype, data.shape
    return made


def _initialised(run: Machine, args: Any, node: Any) -> Value:
    """`nn.Module.__init__(self)`."""
    module = run.resolve(_first_argument(run, args, node))
    if type(module) is Instance:
        module_methods.initialise_base(run, module, calls.Arguments(args.positional[1:], args.keywords), node)
    return NONE


def _range(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("range", *args.positional)


def _partial(run: Machine, args: Any, node: Any) -> Value:
    return Term("partial", args.all, run.frame.source, node, None, {"args": args})


def _ordered_dict(run: Machine, args: Any, node: Any) -> Value:
    if not args.positional:
        return builtin_calls.call(run, "dict", args, node)
    return run.term("ordered dict", args.positional, node)


def _device(run: Machine, args: Any, node: Any) -> Value:
    return run.pure("device", *args.positional)


def _image(run: Machine, args: Any, node: Any) -> Value:
    return run.term(dtypes.IMAGE, args.all, node)


def _image_of_array(run: Machine, args: Any, node: Any) -> Value:
    """`Image.fromarray(x)`: an image of bytes, if the array holds bytes."""
    array = run.resolve(args.positional[0]) if args.positional else None
    bytes_ = type(array) is Term and array.dtype == dtypes.UINT8 and len(args.all) == 1
    return run.term(dtypes.IMAGE if bytes_ else "call", args.all, node)


def _video(run: Machine, args: Any, node: Any) -> Value:
    """`read_video(...)`: frames, sound and what is said of them."""
    frames = run.term("frames", args.all, node)
    frames.dtype = dtypes.UINT8
    return Tuple((frames, run.term("sound", args.all, node), run.term("call", args.all, node)))


def _packed(run: Machine, args: Any, node: Any) -> Value:
    return run.term(layer_shapes.PACKED, args.all, node, info={"args": args})


def _padded(run: Machine, args: Any, node: Any) -> Value:
    output = run.term("pad_packed_sequence", args.all, node)
    packed = run.resolve(args.positional[0]) if args.positional else None
    if output.shape is None and type(packed) is Term:
        output.shape = layer_shapes.of_padded(run, packed, args)
    return Tuple((output, run.pure("lengths", output)))


def _checkpoint(run: Machine, args: Any, node: Any) -> Value:
    """`checkpoint(function, *args)`: the function called."""
    if not args.positional:
        return Term("unknown")
    return calls.call_value(run, args.positional[0], calls.Arguments(args.positional[1:]), node)


def _data_parallel(run: Machine, args: Any, node: Any) -> Value:
    """`nn.parallel.data_parallel(module, inputs, device_ids)`: the module called."""
    inputs = run.resolve(args.get(1, "inputs") or Term("unknown"))
    if not args.positional:
        return Term("unknown")
    given = inputs.items if type(inputs) is Tuple else (inputs,)
    return calls.call_value(run, args.positional[0], calls.Arguments(given), node)


def _focal_loss(run: Machine, args: Any, node: Any) -> Value:
    return layers.call_loss(run, "sigmoid_focal_loss", args, node)


def _attention(run: Machine, args: Any, node: Any) -> Value:
    """`scaled_dot_product_attention(q, k, v, mask, dropout_p)`: the shape of q with the last dimension of v."""
    query, value = (run.resolve(args.get(i, name) or NONE) for i, name in ((0, "query"), (2, "value")))
    rate = args.get(4, "dropout_p")
    if rate is not None:
        run.note("functional dropout", node, query, rate=rate, switched=False)
    result = run.term("sdpa", args.all, node, info={"args": args})
    dims = [
        tensor.shape.dims if type(tensor) is Term and tensor.shape is not None else None for tensor in (query, value)
    ]
    if result.shape is None and dims[0] is not None and dims[1] is not None:
        result.shape = Shape((*dims[0][:-1], dims[1][-1]))
    return result


def _backward_of(run: Machine, args: Any, node: Any) -> Value:
    return training.backward(run, args.get(0, "tensors") or Term("unknown"), args, node)


def _foreach_zero(run: Machine, args: Any, node: Any) -> Value:
    return training.reset(run, list(run.optimizers), node, args.all[0] if args.all else NONE)


_IMAGE_OPERATIONS = (
    "autocontrast",
    "equalize",
    "flip",
    "mirror",
    "pad",
    "fit",
    "contain",
    "crop",
    "expand",
    "scale",
    "exif_transpose",
    "invert",
)

SPECIAL: dict[str, Special] = {
    "torch._foreach_zero_": _foreach_zero,
    "torchvision.ops.sigmoid_focal_loss": _focal_loss,
    "torchvision.ops.focal_loss.sigmoid_focal_loss": _focal_loss,
    "torch.nn.functional.scaled_dot_product_attention": _attention,
    "torch.no_grad": _context("grad", FALSE),
    "torch.autograd.no_grad": _context("grad", FALSE),
    "torch.enable_grad": _context("grad", TRUE),
    "torch.autograd.enable_grad": _context("grad", TRUE),
    "torch.inference_mode": _inference_mode,
    "torch.autograd.inference_mode": _inference_mode,
    "torch.set_grad_enabled": _set_grad,
    "torch.autograd.set_grad_enabled": _set_grad,
    "torch.autocast": _autocast,
    "torch.amp.autocast": _autocast,
    "torch.cpu.amp.autocast": _autocast,
    "torch.compile": _first_argument,
    "torch.jit.script": _first_argument,
    "torch.jit.trace": _first_argument,
    "torch.nn.DataParallel": _first_argument,
    "torch.nn.parallel.DataParallel": _first_argument,
    "torch.nn.parallel.data_parallel": _data_parallel,
    "torch.nn.parallel.DistributedDataParallel": _first_argument,
    "torch.distributed.fsdp.FullyShardedDataParallel": _first_argument,
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm": _first_argument,
    "torch.nn.utils.weight_norm": _first_argument,
    "torch.nn.utils.spectral_norm": _first_argument,
    "torch.nn.utils.parametrizations.weight_norm": _first_argument,
    "torch.nn.utils.parametrizations.spectral_norm": _first_argument,
    "torch.autograd.Variable": _first_argument,
    "torch.nn.Parameter": _parameter,
    "torch.nn.Module.__init__": _initialised,
    "copy.deepcopy": copies.deep_copy,
    "copy.copy": copies.shallow_copy,
    "functools.partial": _partial,
    "collections.OrderedDict": _ordered_dict,
    "torch.device": _device,
    "argparse.ArgumentParser": options.make,
    "PIL.Image.open": _image,
    "PIL.Image.fromarray": _image_of_array,
    **{f"PIL.ImageOps.{name}": _first_argument for name in _IMAGE_OPERATIONS},
    "torchvision.io.read_video": _video,
    "torch.nn.utils.rnn.pack_padded_sequence": _packed,
    "torch.nn.utils.rnn.pack_sequence": _packed,
    "torch.nn.utils.rnn.pad_packed_sequence": _padded,
    "torch.utils.checkpoint.checkpoint": _checkpoint,
    "torch.autograd.backward": _backward_of,
    "tqdm.trange": _range,
    "tqdm.auto.trange": _range,
    "tqdm.notebook.trange": _range,
    "tqdm.tqdm": _first_argument,
    "tqdm.auto.tqdm": _first_argument,
    "tqdm.notebook.tqdm": _first_argument,
    "tqdm.autonotebook.tqdm": _first_argument,
    "tqdm.tqdm_notebook": _first_argument,
    "rich.progress.track": _first_argument,
    "functools.wraps": lambda run, args, node: Term("call"),
    "typing.cast": lambda run, args, node: args.positional[-1] if args.positional else NONE,
}
