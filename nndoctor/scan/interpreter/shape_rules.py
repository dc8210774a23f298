"""How operations change shapes; what cannot be followed has no shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import MIXED, Dim, Shape, atom, dimension, flattened, number, order, resolve_view
from nndoctor.scan.values import Const, Container, Lib, Term, Tuple, Value

Rule = Callable[[Machine, Shape, Any, Any], "Shape | None"]
_SAME = (
    torch_api.ACTIVATION_OPS
    | torch_api.MODE_OPS
    | frozenset(
        """norm softmax log_softmax contiguous to cuda cpu float double half bfloat16 type clone detach requires_grad_ data identity
        clamp exp log sqrt abs neg masked_fill tril triu nan_to_num dropout long byte bool pin_memory retain_grad checkpoint
        type_as logsigmoid sin cos tanh sigmoid flip roll alphadropout array from_numpy as_tensor asarray normalize""".split()
    )
)


def of_operation(run: Machine, op: str, first: Value | None, args: Any, node: Any) -> Shape | None:
    """The shape of the result of `op`."""
    if op in ("cat", "stack"):
        return _joined(run, op, first, args)
    if op in _FILLED:
        return _filled(run, args)
    if type(first) is not Term:
        return None
    shape = first.shape
    if op in _SAME:
        return shape
    if op in ("view", "reshape"):
        return _view(run, first, args, node)
    rule = _RULES.get(op)
    return rule(run, shape, args, node) if rule is not None and shape is not None else None


_FILLED = frozenset({"zeros", "ones", "empty", "rand", "randn", "full"})


def _filled(run: Machine, args: Any) -> Shape | None:
    """The shape that `torch.zeros(...)` is told inside a model; a made-up input beside it shows no more than one case."""
    if not run.in_forward:
        return None
    given = args.positional or tuple(v for k, v in args.keywords.items() if k in ("size", "shape"))
    target = sizes(run, given)
    return Shape(tuple(d for d in target if d is not None)) if target and None not in target else None


def of_index(shape: Shape, parts: Sequence[Value]) -> Shape | None:
    """The shape of `x[parts]`."""
    if shape.dims is None:
        return _indexed_partly(shape, parts)
    dims = list(shape.dims)
    result: list[Dim] = []
    for i, part in enumerate(parts):
        if type(part) is Const and part.value is None:
            result.append(number(1))
        elif type(part) is Term and part.op == "ellipsis":
            rest = sum(1 for p in parts[i + 1 :] if not (type(p) is Const and p.value is None))
            while len(dims) > rest:
                result.append(dims.pop(0))
        elif not dims:
            return None
        elif type(part) is Const and type(part.value) is int:
            dims.pop(0)
        elif type(part) is Term and part.op in ("slice", "full_slice"):
            result.append(dims.pop(0) if part.op == "full_slice" else atom(Term("size")))
            dims = dims if part.op == "full_slice" else dims[1:]
        else:
            return None
    return Shape((*result, *dims))


def _indexed_partly(shape: Shape, parts: Sequence[Value]) -> Shape | None:
    """`x[0]` of a tensor of unknown rank: what was asked of the later dimensions stays known."""
    if len(parts) != 1 or type(parts[0]) is not Const or type(parts[0].value) is not int:
        return None
    result = Shape()
    result.asked = {i - 1 if i > 0 else i: dim for i, dim in shape.asked.items() if i}
    return result


def sizes(run: Machine, values: Sequence[Value]) -> list[Dim | None] | None:
    """The target of a view from its arguments; None stands for -1, no list if it is not known."""
    if len(values) == 1:
        only = run.resolve(values[0])
        if type(only) is Shape:
            return list(only.dims) if only.dims is not None else None
        if type(only) is Tuple:
            values = only.items
        elif type(only) is Container:
            items = only.attrs["$items"]
            if only.attrs.get("$rest") is not None or type(items) is not tuple:
                return None
            values = items
    target: list[Dim | None] = []
    for value in map(run.resolve, values):
        if type(value) is Const and value.value == -1:
            target.append(None)
            continue
        size = dimension(value)
        if size is None or (type(value) is Term and value.op in ("spread", "dtype", "joined", "unknown")):
            return None
        target.append(size)
    return target


def _view(run: Machine, tensor: Term, args: Any, node: Any) -> Shape | None:
    target = sizes(run, args.positional[1:] or tuple(v for k, v in args.keywords.items() if k in ("shape", "size")))
    if target is None:
        return None
    source = tensor.shape
    if source is not None:
        matched = resolve_view(source, target)
        if matched is not None:
            if order(*matched) == MIXED:
                known = source.dims is not None
                run.note("mixed view", node, tensor, source=matched[0], target=matched[1], known=known)
            return Shape(matched[1])
    if None in target:
        target = [d or atom(Term("size")) for d in target]
    return Shape(tuple(d for d in target if d is not None))


def _axis(run: Machine, args: Any, index: int, name: str, rank: int, default: int | None = None) -> int | None:
    value = args.get(index, name)
    value = run.resolve(value) if value is not None else None
    if value is None:
        return default
    if type(value) is not Const or type(value.value) is not int or not -rank <= value.value < rank:
        return None
    return value.value % rank


def _integers(run: Machine, values: Sequence[Value], rank: int) -> list[int] | None:
    if len(values) == 1 and type(values[0]) in (Tuple, Container):
        only: Any = values[0]
        values = only.items if type(only) is Tuple else only.attrs["$items"]
    found = [v.value for v in map(run.resolve, values) if type(v) is Const and type(v.value) is int]
    if len(found) != len(values) or not all(-rank <= i < rank for i in found):
        return None
    return [i % rank for i in found]


def _permute(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    axes = args.positional[1:] or tuple(v for k, v in args.keywords.items() if k in ("dims", "axes"))
    if shape.dims is None:
        rank = len(axes) if len(axes) > 1 else len(getattr(axes[0], "items", ())) if axes else 0
        if not rank or shape.unpack(rank) is None:
            return None
    dims = shape.dims
    assert dims is not None
    found = _integers(run, axes, len(dims))
    return (
        Shape(tuple(dims[i] for i in found)) if found is not None and sorted(found) == list(range(len(dims))) else None
    )


def _transpose(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims = shape.dims
    if dims is None:
        return None
    pair = _integers(run, args.positional[1:3], len(dims)) if len(args.positional) > 2 else None
    if pair is None:
        return None
    swapped = list(dims)
    swapped[pair[0]], swapped[pair[1]] = swapped[pair[1]], swapped[pair[0]]
    return Shape(tuple(swapped))


def _t(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return Shape(shape.dims[::-1]) if shape.dims is not None and len(shape.dims) == 2 else None


def flatten(run: Machine, shape: Shape, args: Any, node: Any = None) -> Shape | None:
    if shape.dims is None:
        return None
    rank = len(shape.dims)
    start = _axis(run, args, 1, "start_dim", rank, 0)
    end = _axis(run, args, 2, "end_dim", rank, rank - 1)
    dims = flattened(shape.dims, start, end) if start is not None and end is not None else None
    return Shape(dims) if dims is not None else None


def _unsqueeze(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = _axis(run, args, 1, "dim", len(shape.dims) + 1)
    return Shape((*shape.dims[:axis], number(1), *shape.dims[axis:])) if axis is not None else None


def _squeeze(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = _axis(run, args, 1, "dim", len(shape.dims))
    if axis is None or not shape.dims[axis].is_one:
        return None
    return Shape((*shape.dims[:axis], *shape.dims[axis + 1 :]))


def _reduced(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None or "keepdim" in args.keywords or len(args.positional) > 2:
        return None
    axis = _axis(run, args, 1, "dim", len(shape.dims))
    return Shape((*shape.dims[:axis], *shape.dims[axis + 1 :])) if axis is not None else None


def _chunk(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = _axis(run, args, 2, "dim", len(shape.dims), 0)
    count = dimension(run.resolve(args.positional[1])) if len(args.positional) > 1 else None
    if axis is None or count is None:
        return None
    size = shape.dims[axis].over(count) or atom(Term("size"))
    return Shape((*shape.dims[:axis], size, *shape.dims[axis + 1 :]))


def _split(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = _axis(run, args, 2, "dim", len(shape.dims), 0)
    size = dimension(run.resolve(args.positional[1])) if len(args.positional) > 1 else None
    if axis is None or size is None:
        return None
    return Shape((*shape.dims[:axis], size, *shape.dims[axis + 1 :]))


def _unbind(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = _axis(run, args, 1, "dim", len(shape.dims), 0)
    return Shape((*shape.dims[:axis], *shape.dims[axis + 1 :])) if axis is not None else None


def _matmul(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    right = run.resolve(args.positional[1]) if len(args.positional) > 1 else None
    other = right.shape if type(right) is Term else None
    if shape.dims is None or other is None or other.dims is None or len(other.dims) < 2 or len(shape.dims) < 2:
        return None
    return Shape((*shape.dims[:-1], other.dims[-1]))


def _joined(run: Machine, op: str, parts: Value | None, args: Any) -> Shape | None:
    items = parts.items if type(parts) is Tuple else parts.attrs["$items"] if type(parts) is Container else ()
    shapes = [
        item.shape.dims if type(item) is Term and item.shape is not None else None
        for item in (items if type(items) is tuple else ())
    ]
    if not shapes or None in shapes or (type(parts) is Container and parts.attrs.get("$rest") is not None):
        return None
    dims = shapes[0]
    if any(s is None or len(s) != len(dims) for s in shapes):  # type: ignore[arg-type]
        return None
    assert dims is not None
    if op == "stack":
        axis = _axis(run, args, 1, "dim", len(dims) + 1, 0)
        return Shape((*dims[:axis], number(len(shapes)), *dims[axis:])) if axis is not None else None
    axis = _axis(run, args, 1, "dim", len(dims), 0)
    if axis is None:
        return None
    sized = [s[axis] for s in shapes if s is not None]
    total = number(sum(d.number for d in sized)) if not any(d.atoms for d in sized) else None
    if total is None and all(d.equals(sized[0]) for d in sized):
        total = sized[0].times(number(len(sized)))
    return Shape((*dims[:axis], total or atom(Term("size")), *dims[axis + 1 :]))


_RULES: dict[str, Rule] = {
    "permute": _permute, "transpose": _transpose, "t": _t, "flatten": flatten, "unsqueeze": _unsqueeze, "squeeze": _squeeze,
    "mean": _reduced, "sum": _reduced, "argmax": _reduced, "chunk": _chunk, "split": _split, "unbind": _unbind, "@": _matmul,
}  # fmt: skip


# Layers


def of_layer(run: Machine, layer: Lib, op: str, tensor: Term) -> Shape | None:
    """The shape of what a layer makes of a tensor."""
    shape = tensor.shape
    if op in _SAME:
        return shape
    if op == "linear" and shape is not None and shape.dims is not None:
        out = _size_argument(run, layer, "out_features")
        return Shape((*shape.dims[:-1], out)) if out is not None else None
    if op == "embedding":
        return _embedded(run, layer, tensor)
    if op == "linear" and shape is not None:
        result, out = _leading(shape, 1), _size_argument(run, layer, "out_features")
        if out is not None:
            result.asked[-1] = out
        return result
    if op == "conv":
        return _convolved(run, layer, tensor)
    if op == "pool" and shape is not None and shape.dims is not None and len(shape.dims) > 2:
        return _pooled(run, layer, shape.dims)
    return None


def _leading(shape: Shape, count: int) -> Shape:
    """A shape of unknown rank that shares the first dimensions with another."""
    result = Shape()
    result.asked = {i: dim for i in range(count) if (dim := shape.dim(i)) is not None}
    return result


def _embedded(run: Machine, layer: Lib, tensor: Term) -> Shape | None:
    if tensor.shape is None:
        tensor.shape = Shape()
    if tensor.shape.dims is None:
        return _leading(tensor.shape, 2)
    out = _size_argument(run, layer, "embedding_dim")
    return Shape((*tensor.shape.dims, out)) if out is not None else None


def _pooled(run: Machine, layer: Lib, dims: tuple[Dim, ...]) -> Shape:
    """Spatial sizes after pooling: known only for adaptive pooling to a constant size."""
    value = (
        run.resolve(layer.args.get("output_size", layer.args.get("kernel_size"))) if "Adaptive" in layer.name else None
    )
    sizes = value.items if type(value) is Tuple else (value,) * (len(dims) - 2)
    known = [dimension(size) if size is not None else None for size in sizes]
    return Shape((*dims[:2], *(size or atom(Term("size")) for size in known)))


def _size_argument(run: Machine, layer: Lib, name: str) -> Dim | None:
    value = layer.args.get(name)
    return dimension(run.resolve(value)) if value is not None else None


def _convolved(run: Machine, layer: Lib, tensor: Term) -> Shape | None:
    out = _size_argument(run, layer, "out_channels")
    rank = next((int(c) for c in layer.name if c.isdigit()), 0)
    if out is None or not rank:
        return None
    shape = tensor.shape
    if shape is not None and shape.dims is not None and len(shape.dims) != rank + 2:
        return None
    if tensor.shape is None:
        tensor.shape = shape = Shape()
    batch = shape.dim(0) if shape is not None else None
    return Shape((batch or atom(Term("size")), out, *(atom(Term("size")) for _ in range(rank))))
