"""The shapes that layers make of what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import axis_rules, calls, shape_rules
from nndoctor.scan.interpreter import shape_arguments as given
from nndoctor.scan.interpreter.axis_rules import some_size
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Dim, Shape, dimension, identify, number
from nndoctor.scan.values import Const, Lib, Term, Tuple


def of_layer(run: Machine, layer: Lib, op: str, tensor: Term, args: Any) -> Shape | None:
    """The shape of what a layer makes of a tensor."""
    if op in shape_rules.SAME:
        return tensor.shape
    rule = _RULES.get(op)
    return rule(run, layer, tensor, args) if rule is not None else None


def _size(run: Machine, layer: Lib, name: str) -> Dim | None:
    value = layer.args.get(name)
    return dimension(run.resolve(value)) if value is not None else None


def _axes_of(layer: Lib) -> int:
    """How many spatial axes a layer works on, as its name says: 2 for Conv2d."""
    return next((int(c) for c in layer.name if c.isdigit()), 0)


def _leading(shape: Shape, count: int) -> Shape:
    """A shape of unknown rank that shares the first dimensions with another."""
    result = Shape()
    result.asked = {i: dim for i in range(count) if (dim := shape.dim(i)) is not None}
    return result


def _learn(run: Machine, layer: Lib, name: str, shape: Shape, axis: int) -> None:
    """What a layer was told of its input is true of the tensor that it is given."""
    size = _size(run, layer, name)
    if size is not None and shape.dims:
        identify(shape.dims[axis], size)


def _linear(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    shape, out = tensor.shape, _size(run, layer, "out_features")
    if shape is None:
        return None
    if shape.dims is not None:
        _learn(run, layer, "in_features", shape, -1)
        return Shape((*shape.dims[:-1], out)) if out is not None else None
    result = _leading(shape, 1)
    if out is not None:
        result.asked[-1] = out
    return result


def _embedding(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    if tensor.shape is None:
        tensor.shape = Shape()
    if tensor.shape.dims is None:
        return _leading(tensor.shape, 2)
    out = _size(run, layer, "embedding_dim")
    return Shape((*tensor.shape.dims, out)) if out is not None else None


def _convolution(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    out, axes, shape = _size(run, layer, "out_channels"), _axes_of(layer), tensor.shape
    if out is None or not axes:
        return None
    if shape is not None and shape.dims is not None and len(shape.dims) != axes + 2:
        return None
    if shape is None:
        tensor.shape = shape = Shape()
    return axis_rules.padded((shape.dim(0) or some_size(), out, *(some_size() for _ in range(axes))), axes)


def _pooling(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    """Spatial sizes are known only after adaptive pooling to a constant size."""
    dims, axes = tensor.shape.dims if tensor.shape is not None else None, _axes_of(layer)
    if dims is None or len(dims) <= axes:
        return None
    target = layer.args.get("output_size") if layer.name.startswith("Adaptive") else None
    return axis_rules.padded(dims, axes) if target is None else axis_rules.resized(run, dims, target, axes)


def _padding(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    dims, axes = tensor.shape.dims if tensor.shape is not None else None, _axes_of(layer)
    return axis_rules.padded(dims, axes) if dims is not None and len(dims) > axes else None


def _upsampling(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    dims = tensor.shape.dims if tensor.shape is not None else None
    return axis_rules.padded(dims, len(dims) - 2) if dims is not None and len(dims) > 2 else None


def _flatten(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    if tensor.shape is None:
        return None
    bounds = (layer.args.get("start_dim", Const(1)), layer.args.get("end_dim", Const(-1)))
    return axis_rules.flatten(run, tensor.shape, calls.Arguments((tensor, *bounds)))


def _unflatten(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    axis, sizes = layer.args.get("dim"), layer.args.get("unflattened_size")
    if axis is None or sizes is None:
        return None
    return shape_rules.of_operation(run, "unflatten", tensor, calls.Arguments((tensor, axis, sizes)), layer.node)


def _transformer(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    """Encoders and decoders keep the shape of their input; the whole has the shape of its target."""
    return given.shape_of(run, args.get(1, "tgt")) if layer.name == "Transformer" else tensor.shape


def _recurrent_cell(run: Machine, layer: Lib, tensor: Term, args: Any) -> Shape | None:
    hidden, dims = _size(run, layer, "hidden_size"), tensor.shape.dims if tensor.shape is not None else None
    if layer.name == "LSTMCell" or hidden is None or dims is None or len(dims) != 2:
        return None
    return Shape((dims[0], hidden))


_RULES: dict[str, Callable[[Machine, Lib, Term, Any], Shape | None]] = {
    "linear": _linear,
    "embedding": _embedding,
    "conv": _convolution,
    "pool": _pooling,
    "pad": _padding,
    "upsample": _upsampling,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "transformer": _transformer,
    "rnncell": _recurrent_cell,
}


# Recurrent layers


def of_recurrent(run: Machine, layer: Lib, tensor: Term, args: Any) -> tuple[Shape | None, Shape | None]:
    """Output and final hidden state: `(N, T, D * H)` or `(T, N, D * H)`, and `(D * layers, N, H)`."""
    initial = _initial_state(run, args)
    size, layers = _size(run, layer, "hidden_size"), dimension(run.resolve(layer.args.get("num_layers", Const(1))))
    directions = _directions(run, layer)
    if size is None or layers is None or not directions or "proj_size" in layer.args:
        return None, initial
    state = None
    if layers.number > 1 or directions > 1 or not layers.atoms:
        state = Shape((layers.times(number(directions)), _batch(run, layer, tensor), size))
    width, dims = size.times(number(directions)), tensor.shape.dims if tensor.shape is not None else None
    if tensor.op == PACKED or dims is None or len(dims) != 3:
        return None, initial or state
    return Shape((*dims[:2], width)), initial or state


PACKED = "pack_padded_sequence"


def _initial_state(run: Machine, args: Any) -> Shape | None:
    """The shape of the initial state that was passed: the final state has the same."""
    state = run.resolve(args.get(1, "hx") or Term("unknown"))
    shape = given.shape_of(run, state.items[0] if type(state) is Tuple and state.items else state)
    return shape if shape is not None and shape.dims is not None and len(shape.dims) == 3 else None


def _directions(run: Machine, layer: Lib) -> int | None:
    both = _flag(run, layer.args.get("bidirectional"))
    return None if both is None else 2 if both else 1


def _flag(run: Machine, value: Any) -> bool | None:
    """An option that is False where it is left out; None if it is not known."""
    value = run.resolve(value) if value is not None else Const(False)
    return bool(value.value) if type(value) is Const else None


def _batch(run: Machine, layer: Lib, tensor: Term) -> Dim:
    """The number of examples in what a recurrent layer is given."""
    option: Any = layer.args.get("batch_first")
    if tensor.op == PACKED:
        if tensor.info is None or type(source := run.resolve(tensor.inputs[0])) is not Term:
            return some_size()
        option, tensor = tensor.info["args"].get(2, "batch_first"), source
    batch_first = _flag(run, option)
    if batch_first is None:
        return some_size()
    if tensor.shape is None:
        tensor.shape = Shape()
    return tensor.shape.dim(0 if batch_first else 1) or some_size()


def of_padded(run: Machine, packed: Term, args: Any) -> Shape | None:
    """What `pad_packed_sequence` makes of a recurrent layer's output: `(N, T, D * H)` or `(T, N, D * H)`."""
    layer = packed.info.get("layer") if packed.op == "rnn" and packed.info is not None else None
    source = run.resolve(packed.inputs[0]) if packed.inputs else None
    batch_first = _flag(run, args.get(1, "batch_first"))
    if type(layer) is not Lib or type(source) is not Term or source.op != PACKED or batch_first is None:
        return None
    size, directions = _size(run, layer, "hidden_size"), _directions(run, layer)
    if size is None or not directions or "proj_size" in layer.args:
        return None
    batch = _batch(run, layer, source)
    leading = (batch, some_size()) if batch_first else (some_size(), batch)
    return Shape((*leading, size.times(number(directions))))
