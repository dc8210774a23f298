"""Tensors: what an operation leaves on its result (activation, element type, shape), attributes and indexing."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import dtypes, paths, shape_rules
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import LOG_SOFTMAX, LOSS, SOFTMAX, Choice, Const, Container, Term, Tuple, Value

_KEEPS_LOSS = frozenset("+ - * / neg mean sum clamp abs where scaled nanmean exp log minimum maximum min max".split())
_PAIRS = frozenset({"max", "min", "median", "topk", "sort"})
PARTS = frozenset({"chunk", "split", "unbind", "tensor_split", "hsplit", "vsplit"})


def operate(run: Machine, op: str, args: Any, node: Any, info: dict[str, Any] | None = None) -> Term:
    """The result of a tensor operation on the arguments of a call, the tensor itself first."""
    result = run.term(op, args.all, node, info=info or {"args": args})
    settle(run, result, args, node)
    if op in SOFTMAXES:
        note_softmax(run, result, args.get(1, "dim") or args.keywords.get("axis"), args.open, node)
    return result


SOFTMAXES = frozenset({"softmax", "log_softmax"})


def note_softmax(run: Machine, result: Term, axis: Value | None, is_open: bool, node: Any) -> None:
    """A softmax and the axis it was told; None if it was told none."""
    axis = Term("unknown") if axis is None and is_open else axis
    if not result.inputs:
        return
    run.note("softmax", node, result.inputs[0], axis=run.resolve(axis) if axis is not None else None, result=result)


def settle(run: Machine, result: Term, args: Any, node: Any) -> None:
    """Fill in what is known of a new tensor."""
    op = result.op
    first = args.positional[0] if args.positional else next(iter(args.all), None)
    first = run.resolve(first) if first is not None else None
    result.act = act_of(run, op, first)
    result.dtype = dtypes.of_operation(run, op, first, args)
    if result.shape is None:
        result.shape = shape_rules.of_operation(run, op, first, args, node)


def act_of(run: Machine, op: str, first: Value | None) -> str | None:
    """The activation that the result of `op` on `first` shows."""
    own = torch_api.ACTS.get(op)
    if own is not None:
        return own
    if op == "exp" and type(first) is Term and first.act == LOG_SOFTMAX:
        return SOFTMAX
    if op in ("cat", "stack"):
        return _common_act(run, first)
    if type(first) is not Term:
        return None
    if op in torch_api.TRANSPARENT or op == "dropout" or (op == "clamp" and first.act != LOSS):
        return first.act
    return LOSS if first.act == LOSS and op in _KEEPS_LOSS else None


def _common_act(run: Machine, parts: Value | None) -> str | None:
    if type(parts) is Container:
        items = parts.attrs["$items"] or ((parts.attrs["$rest"],) if parts.attrs.get("$rest") is not None else ())
    else:
        items = parts.items if type(parts) is Tuple else ()
    acts = {item.act if type(item) is Term else None for item in (items if type(items) is tuple else ())}
    return acts.pop() if len(acts) == 1 else None


def shape_of(value: Value) -> Shape | None:
    """The shape of a tensor, made when it is first asked for."""
    if type(value) is not Term:
        return None
    if value.shape is None:
        value.shape = Shape()
    return value.shape


def attribute(run: Machine, tensor: Term, name: str, node: Any) -> Value:
    """`tensor.name`, also of an unknown value."""
    if tensor.attrs is not None:
        found = run.read(tensor.attrs, name)
        if found is not None:
            return run.resolve(found)
    if name == "shape":
        return shape_of(tensor)
    if name == "parent" and tensor.op == "path":
        return paths.parent(run, tensor)
    if name in _DERIVED:
        return _derived(run, name, tensor, node)
    if name == "values" and tensor.op in _PAIRS and tensor.shape is not None:
        return _values(run, tensor, node)
    if name == "dtype" and tensor.dtype is not None:
        return run.pure("dtype", tensor)
    return run.pure("attribute", tensor, name)


_DERIVED = frozenset({"data", "T", "mT", "real"})


def _derived(run: Machine, name: str, tensor: Term, node: Any) -> Term:
    turned = name in ("T", "mT")
    result = run.term("transposed" if turned else name, (tensor,), node)
    result.act, result.dtype, result.shape = tensor.act, tensor.dtype, tensor.shape
    if turned:
        dims = tensor.shape.dims if tensor.shape is not None else None
        kept = len(dims) - 2 if dims is not None and name == "mT" else 0
        result.shape = Shape((*dims[:kept], *dims[kept:][::-1])) if dims is not None and len(dims) > 1 else None
    return result


def part(run: Machine, value: Value, index: int, node: Any) -> Value:
    """What unpacking binds to its element number `index`."""
    if type(value) is Choice:
        return run.each(value, lambda leaf: part(run, leaf, index, node))
    if type(value) is Term and value.op in PARTS:
        return _piece(run, value, node)
    if type(value) is Term and value.op in _PAIRS:
        if index == 1:
            return run.pure("argmax", value)
        if run.in_forward and value.shape is not None:  # elsewhere it may be numpy's, which gives no pair
            return _values(run, value, node)
    return run.pure("part", value, Const(index))


def _piece(run: Machine, pieces: Term, node: Any) -> Term:
    source = pieces.inputs[0]
    result = run.term("index", (pieces,), node)
    if type(source) is Term:
        result.act, result.dtype = source.act, source.dtype
        result.shape = pieces.shape
    return result


def _values(run: Machine, pair: Term, node: Any) -> Term:
    """The values of `x.max(dim)`, which gives their places too."""
    result = run.term("index", (pair,), node)
    result.dtype, result.shape = pair.dtype, pair.shape
    return result


def item(run: Machine, value: Value, index: Value, node: Any) -> Value:
    """`value[index]` of a tensor or an unknown value."""
    if type(value) is Term and value.op in PARTS:
        return _piece(run, value, node)
    if type(value) is Term and value.op in _PAIRS and value.shape is not None and _is_place(index):
        return part(run, value, index.value, node)
    if type(value) is Term and value.attrs is not None and type(index) is Const:
        found = value.attrs.get(("item", index.value))
        if found is not None:
            return found
    if not _is_tensor(value) and not (type(value) is Term and _cuts(index)):
        return run.pure("item", value, index) if type(index) in (Const, Term) else run.term("item", (value,), node)
    return _indexed(run, value, index.items if type(index) is Tuple else (index,), node)


def _cuts(index: Value) -> bool:
    """Whether an index has a slice among others, as only those of tensors and arrays have."""
    return type(index) is Tuple and any(type(part) is Term and part.op in _SLICES for part in index.items)


_SLICES = frozenset({"slice", "full slice"})


def _is_place(index: Value) -> bool:
    return type(index) is Const and type(index.value) is int


def sliced(run: Machine, value: Value, part: Term, node: Any) -> Value:
    """`value[a:b]` of a tensor, a shape or an unknown value."""
    if type(value) is Shape:
        return part
    if type(value) is not Term:
        return run.term("index", (value, part), node)
    return value if value.op in PARTS or part.op == "full slice" else _indexed(run, value, (part,), node)


def _indexed(run: Machine, value: Term, parts: tuple[Value, ...], node: Any) -> Term:
    result = run.term("index", (value, *parts), node)
    result.act, result.dtype = value.act, value.dtype
    if result.shape is None and value.shape is not None:
        result.shape = shape_rules.of_index(value.shape, parts)
    if value.op in _SEQUENCES:
        run.note("steps of sequence", node, value, parts=parts, result=result)
    return result


def _is_tensor(value: Value) -> bool:
    """Whether a value is certainly a tensor or array."""
    return type(value) is Term and (
        value.act is not None or value.dtype is not None or value.shape is not None or value.op in _TENSOR_OPS
    )


_SEQUENCES = frozenset({"rnn", "transformer", "attention"})  # layers that go over the steps of a sequence
_TENSOR_OPS = (
    torch_api.TRANSPARENT - {"forward", "returned", "element", "data", "index", "item_of"}
    | frozenset(torch_api.ACTS)
    | _SEQUENCES
)
