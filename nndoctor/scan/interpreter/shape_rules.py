"""How operations change shapes; what cannot be followed has no shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import axis_rules, joins, pattern_rules
from nndoctor.scan.interpreter import shape_arguments as given
from nndoctor.scan.interpreter.axis_rules import Rule, some_size
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import (
    IN_ORDER,
    MIXED,
    Dim,
    Shape,
    broadcast,
    fits_without_first,
    matrix_product,
    number,
    order,
    remembered,
    resolve_view,
)
from nndoctor.scan.values import ITEMS, REST, Choice, Const, Container, Term, Tuple, Value

SAME = (
    (torch_api.ACTIVATION_OPS - {"glu"})
    | torch_api.MODE_OPS
    | frozenset(
        """norm softmax log_softmax contiguous to cuda cpu float double half bfloat16 type clone detach requires_grad_
        data identity clamp exp log sqrt abs neg masked_fill tril triu nan_to_num long byte bool pin_memory retain_grad
        checkpoint type_as logsigmoid sin cos flip roll alphadropout array from_numpy as_tensor asarray normalize
        cumsum cumprod sort argsort channel_shuffle zeros_like ones_like empty_like full_like rand_like randn_like
        bernoulli round floor ceil log1p expm1 erf rsqrt isnan logical_not""".split()
    )
)


def of_operation(run: Machine, op: str, first: Value | None, args: Any, node: Any) -> Shape | None:
    """The shape of the result of `op`."""
    if type(first) not in (Term, Choice):
        made = _MADE.get(op)
        return made(run, args) if made is not None else None
    shape = given.shape_of(run, first)
    if op in SAME:
        return shape
    if op in ("view", "reshape"):
        return _view(run, first, args, node) if type(first) is Term else None
    rule = _RULES.get(op)
    if rule is not None:
        return rule(run, shape, args, node) if shape is not None else None
    made = _MADE.get(op)
    return made(run, args) if made is not None else None


def of_index(shape: Shape, parts: Sequence[Value]) -> Shape | None:
    """The shape of `x[parts]`."""
    if shape.dims is None:
        return _indexed_partly(shape, parts)
    dims = list(shape.dims)
    result: list[Dim] = []
    for i, part in enumerate(parts):
        op = part.op if type(part) is Term else None
        if type(part) is Const and part.value is None:
            result.append(number(1))
        elif op == "ellipsis":
            behind = sum(1 for p in parts[i + 1 :] if not (type(p) is Const and p.value is None))
            taken = max(len(dims) - behind, 0)
            result, dims = result + dims[:taken], dims[taken:]
        elif not dims:
            return None
        elif op in _CUTS:
            result.append(dims[0] if op == "full slice" else some_size())
            dims = dims[1:]
        elif op == "counter" or (type(part) is Const and type(part.value) is int):
            dims = dims[1:]
        else:
            return None
    return Shape((*result, *dims))


_CUTS = frozenset({"slice", "full slice"})


def _indexed_partly(shape: Shape, parts: Sequence[Value]) -> Shape | None:
    """`x[0]` of a tensor of unknown rank: what was asked of the later dimensions stays known."""
    if len(parts) != 1 or type(parts[0]) is not Const or type(parts[0].value) is not int:
        return None
    result = Shape()
    result.asked = {i - 1 if i > 0 else i: dim for i, dim in shape.asked.items() if i}
    return result


def _view(run: Machine, tensor: Term, args: Any, node: Any) -> Shape | None:
    sizes = args.positional[1:] or tuple(v for k, v in args.keywords.items() if k in ("shape", "size"))
    target = given.sizes(run, sizes)
    if target is None or "order" in args.keywords:
        return None
    joins.note_view(run, tensor, target, node)
    return viewed(run, tensor, target, node)


def viewed(run: Machine, tensor: Term, target: Sequence[Dim | None], node: Any) -> Shape:
    """The shape of a view; one that puts the elements in another order is noted."""
    source = tensor.shape or _shape_of_item(tensor)
    matched = resolve_view(source, target) if source is not None else None
    if source is None or matched is None:
        return Shape(tuple(size or some_size() for size in target))
    kept = order(*matched)
    if kept == MIXED and not fits_without_first(matched[0], target):
        run.note("mixed view", node, tensor, source=matched[0], target=matched[1], known=source.dims is not None)
    return Shape(remembered(*matched) if kept == IN_ORDER else matched[1])


def _shape_of_item(value: Term) -> Shape | None:
    """What is known by now of `x[0]`, whose tensor was not seen to be one before: `x[0].view(x.shape[2], -1)`."""
    if value.op != "item" or len(value.inputs) != 2:
        return None
    whole, index = value.inputs
    return of_index(whole.shape, (index,)) if type(whole) is Term and whole.shape is not None else None


def _view_as(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    other, tensor = given.shape_of(run, args.get(1, "other")), run.resolve(args.positional[0])
    return viewed(run, tensor, other.dims, node) if other is not None and other.dims is not None else other


def _unflatten(run: Machine, shape: Shape, args: Any, node: Any) -> Shape | None:
    """`x.unflatten(dim, sizes)`: a view that cuts one axis."""
    sizes = args.get(2, "sizes")
    axis = given.axis(run, args, 1, "dim", len(shape.dims)) if shape.dims is not None else None
    target = given.sizes(run, (sizes,)) if sizes is not None else None
    if shape.dims is None or axis is None or not target:
        return None
    whole = (*shape.dims[:axis], *target, *shape.dims[axis + 1 :])
    return viewed(run, run.resolve(args.positional[0]), whole, node)


def _filled(run: Machine, args: Any) -> Shape | None:
    """The shape that `torch.zeros(...)` is told inside a model; a made-up input beside it shows one case only."""
    if not run.in_forward:
        return None
    told = args.positional or tuple(v for k, v in args.keywords.items() if k in ("size", "shape"))
    dims = given.known_sizes(run, told)
    return Shape(dims) if dims is not None else None


def _full(run: Machine, args: Any) -> Shape | None:
    dims = given.known_sizes(run, args.positional[:1]) if run.in_forward else None
    return Shape(dims) if dims is not None and args.positional else None


def _counted(run: Machine, args: Any) -> Shape | None:
    """`torch.arange(n)` inside a model."""
    dims = given.known_sizes(run, args.positional) if run.in_forward and len(args.positional) == 1 else None
    return Shape(dims) if dims is not None and len(dims) == 1 else None


def _chosen(run: Machine, args: Any) -> Shape | None:
    """`torch.where(condition, x, y)` of tensors whose shapes are all known."""
    values = tuple(run.resolve(value) for value in args.positional)
    shapes = [value.shape if type(value) is Term else None for value in values if type(value) is not Const]
    if len(values) != 3 or not shapes or any(shape is None or shape.dims is None for shape in shapes):
        return None
    result = shapes[0]
    for shape in shapes[1:]:
        result = broadcast(result, shape)
    return result


def _added_product(run: Machine, args: Any) -> Shape | None:
    """`torch.baddbmm(bias, a, b)`."""
    return matrix_product(given.shape_of(run, args.get(1, "batch1")), given.shape_of(run, args.get(2, "batch2")))


def _stacked(run: Machine, args: Any) -> Shape | None:
    dims, _ = _parts(run, args)
    axis = given.axis(run, args, 1, "dim", len(dims) + 1, 0) if dims is not None else None
    if dims is None or axis is None:
        return None
    return Shape((*dims[:axis], _count(run, args), *dims[axis:]))


def _concatenated(run: Machine, args: Any) -> Shape | None:
    dims, shapes = _parts(run, args)
    axis = given.axis(run, args, 1, "dim", len(dims), 0) if dims is not None else None
    if dims is None or axis is None:
        return None
    count, sized = _count(run, args), [shape[axis] for shape in shapes]
    if all(dim.equals(sized[0]) for dim in sized):
        total = sized[0].times(count)
    elif not count.atoms and not any(dim.atoms for dim in sized):
        total = number(sum(dim.number for dim in sized))
    else:
        total = some_size()
    return Shape((*dims[:axis], total, *dims[axis + 1 :]))


def _parts(run: Machine, args: Any) -> tuple[tuple[Dim, ...] | None, list[tuple[Dim, ...]]]:
    """The shapes that are put together, and the first of them; none unless all are known and of one rank."""
    parts = run.resolve(args.positional[0]) if args.positional else None
    values: Any = parts.items if type(parts) is Tuple else ()
    if type(parts) is Container:
        held, rest = run.read(parts.attrs, ITEMS), run.read(parts.attrs, REST)
        values = (*(held if type(held) is tuple else ()), *(() if rest is None else (rest,)))
    shapes = [shape.dims if (shape := given.shape_of(run, value)) is not None else None for value in values]
    known = [dims for dims in shapes if dims is not None]
    if not known or len(known) < len(shapes) or len({len(dims) for dims in known}) > 1:
        return None, []
    return known[0], known


def _count(run: Machine, args: Any) -> Dim:
    """How many parts there are; of a list that was filled step by step nobody knows."""
    parts = run.resolve(args.positional[0])
    if type(parts) is Tuple:
        return number(len(parts.items))
    held, filled = run.read(parts.attrs, ITEMS), (id(parts.attrs), ITEMS) in run.written
    certain = type(held) is tuple and not filled and run.read(parts.attrs, REST) is None
    return number(len(held)) if certain else some_size()


_RULES: dict[str, Rule] = {
    **axis_rules.RULES,
    "view_as": _view_as,
    "reshape_as": _view_as,
    "unflatten": _unflatten,
    **dict.fromkeys(("rearrange", "einops_reduce", "einops_repeat"), pattern_rules.rearrange),
}
# Operations whose first argument is no tensor, or is not the one that says most.
_MADE = {
    "cat": _concatenated,
    "stack": _stacked,
    "einsum": pattern_rules.einsum,
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn"), _filled),
    "full": _full,
    "arange": _counted,
    "where": _chosen,
    "baddbmm": _added_product,
}
