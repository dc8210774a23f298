"""How operations along axes change a shape: reorder, add, drop, cut, stretch and reduce them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nndoctor.scan.interpreter import shape_arguments as given
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import MAY_BE_ONE, Dim, Shape, atom, dimension, flattened, merged, number
from nndoctor.scan.values import Container, Term, Tuple

Dims = tuple[Dim, ...]
Rule = Callable[[Machine, Shape, Any, Any], "Shape | None"]


def some_size() -> Dim:
    """A size that nobody knows."""
    return atom(Term("size"))


def _replaced(dims: Dims, axis: int, *by: Dim) -> Shape:
    return Shape((*dims[:axis], *by, *dims[axis + 1 :]))


# Order


def _permute(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    order = args.positional[1:] or tuple(v for k, v in args.keywords.items() if k in ("dims", "axes"))
    listed = given.items(run, order)
    if not listed or shape.unpack(len(listed)) is None or shape.dims is None:
        return None
    dims = shape.dims
    found = given.axes(run, listed, len(dims))
    if found is None or sorted(found) != list(range(len(dims))):
        return None
    return Shape(tuple(dims[i] for i in found))


def _transpose(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if len(args.positional) > 3 or (len(args.positional) == 2 and not args.keywords):  # numpy's: all axes
        return _permute(run, shape, args, node)
    dims = shape.dims
    pair = (args.get(1, "dim0"), args.get(2, "dim1"))
    if dims is None or None in pair:
        return None
    found = given.axes(run, pair, len(dims))
    if found is None:
        return None
    swapped = list(dims)
    swapped[found[0]], swapped[found[1]] = dims[found[1]], dims[found[0]]
    return Shape(tuple(swapped))


def _t(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return Shape(shape.dims[::-1]) if shape.dims is not None and len(shape.dims) == 2 else None


def _movedim(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims = shape.dims
    source, target = args.get(1, "source"), args.get(2, "destination")
    if dims is None or source is None or target is None:
        return None
    leaving, arriving = given.axes(run, (source,), len(dims)), given.axes(run, (target,), len(dims))
    if not leaving or not arriving or len(set(leaving)) != len(set(arriving)):
        return None
    rest = [i for i in range(len(dims)) if i not in leaving]
    places = dict(zip(arriving, leaving, strict=True))
    return Shape(tuple(dims[places[i] if i in places else rest.pop(0)] for i in range(len(dims))))


# Number of axes


def flatten(run: Machine, shape: Shape, args: Any, node: Any = None) -> Shape | None:
    """The shape after `flatten(start_dim, end_dim)`."""
    if shape.dims is None:
        return _flattened_behind_first(run, shape, args)
    rank = len(shape.dims)
    start = given.axis(run, args, 1, "start_dim", rank, 0)
    end = given.axis(run, args, 2, "end_dim", rank, rank - 1)
    dims = flattened(shape.dims, start, end) if start is not None and end is not None else None
    return Shape(dims) if dims is not None else None


def _flattened_behind_first(run: Machine, shape: Shape, args: Any) -> Shape | None:
    """`flatten(1)` of a tensor of unknown rank."""
    end = args.get(2, "end_dim")
    first = shape.dim(0)
    if first is None or given.integer(run, args.get(1, "start_dim")) != 1:
        return None
    return Shape((first, some_size())) if end is None or given.integer(run, end) == -1 else None


def _ravel(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return Shape((merged(shape.dims),)) if shape.dims else None


def _unsqueeze(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    if shape.dims is None:
        return None
    axis = given.axis(run, args, 1, "dim", len(shape.dims) + 1)
    return Shape((*shape.dims[:axis], number(1), *shape.dims[axis:])) if axis is not None else None


def _squeeze(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims = shape.dims
    if dims is None or args.open:
        return None
    if len(args.all) == 1:
        unknown = any(size.op in MAY_BE_ONE for dim in dims for size in dim.atoms)
        return None if unknown else Shape(tuple(dim for dim in dims if not dim.is_one))
    axis = given.axis(run, args, 1, "dim", len(dims))
    if axis is None or dims[axis].atoms:
        return None
    return _replaced(dims, axis) if dims[axis].is_one else shape


def _select(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    axis = given.axis(run, args, 1, "dim", len(shape.dims)) if shape.dims is not None else None
    return _replaced(shape.dims, axis) if shape.dims is not None and axis is not None else None


def _unbind(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    axis = given.axis(run, args, 1, "dim", len(shape.dims), 0) if shape.dims is not None else None
    return _replaced(shape.dims, axis) if shape.dims is not None and axis is not None else None


# Sizes


def _chunk(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims, count = shape.dims, args.get(1, "chunks")
    axis = given.axis(run, args, 2, "dim", len(dims), 0) if dims is not None else None
    parts = dimension(run.resolve(count)) if count is not None else None
    if dims is None or axis is None or parts is None:
        return None
    return _replaced(dims, axis, dims[axis].over(parts) or some_size())


def _split(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims = shape.dims
    axis = given.axis(run, args, 2, "dim", len(dims), 0) if dims is not None else None
    size = args.get(1, "split_size_or_sections") or args.get(1, "split_size")
    length = dimension(run.resolve(size)) if size is not None else None
    return _replaced(dims, axis, length) if dims is not None and axis is not None and length is not None else None


def _narrow(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims, length = shape.dims, args.get(3, "length")
    axis = given.axis(run, args, 1, "dim", len(dims)) if dims is not None else None
    if dims is None or axis is None or length is None:
        return None
    return _replaced(dims, axis, dimension(run.resolve(length)) or some_size())


def _index_select(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    axis = given.axis(run, args, 1, "dim", len(shape.dims)) if shape.dims is not None else None
    return _replaced(shape.dims, axis, some_size()) if shape.dims is not None and axis is not None else None


def _gather(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return given.shape_of(run, args.get(2, "index"))


def _unfold(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """`x.unfold(dim, size, step)`: windows along an axis, their elements last."""
    dims, size = shape.dims, args.get(2, "size")
    axis = given.axis(run, args, 1, "dimension", len(dims)) if dims is not None else None
    if dims is None or axis is None or size is None:
        return None
    window = dimension(run.resolve(size)) or some_size()
    return Shape((*dims[:axis], some_size(), *dims[axis + 1 :], window))


def _expand(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    target = given.sizes(run, args.positional[1:])
    if shape.dims is None or not target or len(target) < len(shape.dims):
        return None
    new = len(target) - len(shape.dims)
    kept = (None,) * new + shape.dims
    dims = [wanted or before for wanted, before in zip(target, kept, strict=True)]
    return Shape(tuple(dim for dim in dims if dim is not None)) if None not in dims[:new] else None


def _as_other(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return given.shape_of(run, args.get(1, "other"))


def _repeat(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    times = given.known_sizes(run, args.positional[1:])
    if times is not None and len(times) == 2 and not run.in_forward:
        return None  # may be numpy's, of which the second says along which axis
    if shape.dims is None or times is None or len(times) < len(shape.dims):
        return None
    dims = (number(1),) * (len(times) - len(shape.dims)) + shape.dims
    return Shape(tuple(merged((count, dim)) for count, dim in zip(times, dims, strict=True)))


def _repeat_interleave(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims, repeats = shape.dims, args.get(1, "repeats")
    axis = given.axis(run, args, 2, "dim", len(dims)) if dims is not None else None
    if dims is None or axis is None or repeats is None:
        return None
    count = given.integer(run, repeats)  # a tensor says how often for each element
    return _replaced(dims, axis, merged((dims[axis], number(count))) if count and count > 0 else some_size())


# Reductions


def reduced(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """The shape after a reduction over one axis or several; None where all are reduced."""
    axes, keep = args.get(1, "dim") or args.keywords.get("axis"), given.option(run, args, 2, "keepdim", "keepdims")
    if shape.dims is None or axes is None or keep is None or args.open:
        return None
    return _without(shape.dims, given.axes(run, (axes,), len(shape.dims)), keep)


def _without(dims: Dims, axes: Sequence[int] | None, keep: bool) -> Shape | None:
    if not axes:
        return None
    kept = [number(1) if i in axes else dim for i, dim in enumerate(dims) if keep or i not in axes]
    return Shape(tuple(kept))


def _deviation(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """`std` and `var` take more between the axis and `keepdim`."""
    return reduced(run, shape, args, node) if len(args.positional) < 3 else None


def _norm(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """`norm(p, dim, keepdim)`; torch.linalg has another order after the first two."""
    axes, keep = args.get(2, "dim"), given.option(run, args, 3, "keepdim", "keepdims")
    if shape.dims is None or axes is None or keep is None or args.open or "axis" in args.keywords:
        return None
    return _without(shape.dims, given.axes(run, (axes,), len(shape.dims)), keep)


def _topk(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    dims, count = shape.dims, args.get(1, "k")
    axis = given.axis(run, args, 2, "dim", len(dims), len(dims) - 1) if dims else None
    if dims is None or axis is None or count is None:
        return None
    return _replaced(dims, axis, dimension(run.resolve(count)) or some_size())


def _one_hot(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    count = args.get(1, "num_classes")
    size = dimension(run.resolve(count)) if count is not None else None
    return Shape((*shape.dims, size or some_size())) if shape.dims is not None else None


def _pooled(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """Pooling in two or three dimensions of a batch; with three axes the batch may be missing."""
    return padded(shape.dims, len(shape.dims) - 2) if shape.dims is not None and len(shape.dims) > 3 else None


def _adaptively_pooled(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    target = args.get(1, "output_size")
    if shape.dims is None or target is None or len(shape.dims) < 4:
        return None
    return resized(run, shape.dims, target, len(shape.dims) - 2)


def resized(run: Machine, dims: Dims, target: Any, count: int) -> Shape | None:
    """The last `count` axes get the sizes of a target: one for all, or one each."""
    target = run.resolve(target)
    wanted = target.items if type(target) is Tuple else (target,) * count
    if len(wanted) != count:
        return None
    return Shape((*dims[: len(dims) - count], *(dimension(run.resolve(size)) or some_size() for size in wanted)))


def _interpolated(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    return padded(shape.dims, len(shape.dims) - 2) if shape.dims is not None and len(shape.dims) > 2 else None


def _pad(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """`F.pad(x, (left, right, top, bottom, ...))`: from the last axis on."""
    amounts = run.resolve(args.get(1, "pad") or Term("unknown"))
    listed = given.items(run, (amounts,)) if type(amounts) in (Tuple, Container) else None
    if shape.dims is None or not listed or len(listed) % 2 or len(listed) > 2 * len(shape.dims):
        return None
    return padded(shape.dims, len(listed) // 2)


def padded(dims: Dims, count: int) -> Shape:
    """The last axes get sizes of their own."""
    return Shape((*dims[: len(dims) - count], *(some_size() for _ in range(count))))


RULES: dict[str, Rule] = {
    "permute": _permute,
    "transpose": _transpose,
    "t": _t,
    "movedim": _movedim,
    "flatten": flatten,
    "ravel": _ravel,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "select": _select,
    "unbind": _unbind,
    "chunk": _chunk,
    "split": _split,
    "narrow": _narrow,
    "index_select": _index_select,
    "gather": _gather,
    "unfold": _unfold,
    "expand": _expand,
    "expand_as": _as_other,
    "repeat": _repeat,
    "repeat_interleave": _repeat_interleave,
    **dict.fromkeys(("mean", "sum", "argmax", "argmin", "amax", "amin", "logsumexp", "prod", "all", "any"), reduced),
    **dict.fromkeys(("max", "min", "median"), reduced),
    **dict.fromkeys(("std", "var"), _deviation),
    "vector_norm": _norm,
    "topk": _topk,
    "one_hot": _one_hot,
    "pad": _pad,
    "pool": _pooled,
    "adaptive_pool": _adaptively_pooled,
    "upsample": _interpolated,
}
