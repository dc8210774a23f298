"""What happens to the batch axis: lost by a squeeze or a flatten, broadcast inside a loss."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.gradient_flow import is_data
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Lib, Site, Term, Value

# ND503


@rule("ND503")
def squeeze_without_dimension(program: Program) -> Iterator[Draft]:
    restored = {id(event.subject) for event in program.methods("unsqueeze")}  # `if x.dim() == 1: x = x.unsqueeze(0)`
    for event in program.methods("squeeze"):
        args = event.details["args"]
        if not args.all and not args.open and id(event.details["result"]) not in restored:
            yield from _squeezed(event, event.subject)
    for event in program.calls("torch.squeeze"):
        args = event.details["args"]
        if len(args.all) == 1 and not args.open and id(event.details["result"]) not in restored:
            yield from _squeezed(event, args.all[0])


def _squeezed(event: Event, tensor: Value) -> Iterator[Draft]:
    for option in event.options(tensor):
        dims = option.shape.dims if type(option) is Term and option.shape is not None else None
        if dims is None or not _loses_meaning(dims):
            continue
        axis = next(i for i, dim in enumerate(dims) if dim.is_one)
        made = wording.made_at(option)
        call = f"squeeze({axis if axis < len(dims) - 1 else -1})"
        treatment = f"Name the axis: `{call}`." if _ones(dims) == 1 else "Name the axes, or use `flatten(1)`."
        message = f"`{wording.text(event.site)}` also drops the axis of the batch when it holds one example"
        yield Draft("ND503", event.site, message, made, Confidence.LIKELY, treatment=treatment)
        return


def _ones(dims: tuple[Dim, ...]) -> int:
    return sum(1 for dim in dims if dim.is_one)


def _loses_meaning(dims: tuple[Dim, ...]) -> bool:
    """Whether there are axes of size 1 to drop, the axis of a batch, and others that stay."""
    return bool(_ones(dims)) and any(map(_is_batch, dims)) and len(dims) - _ones(dims) > 1


def _is_batch(dim: Dim) -> bool:
    """Whether a size is that of the first axis of what a model was given."""
    size = next(iter(dim.atoms), None)
    if size is None or dim.number != 1 or len(dim.atoms) != 1 or size.op != "dim" or len(size.inputs) < 2:
        return False
    return type(size.inputs[1]) is Const and size.inputs[1].value == 0


# ND504


@rule("ND504")
def flatten_with_batch(program: Program) -> Iterator[Draft]:
    for event in program.of("apply"):
        if event.details["operation"] != "linear":
            continue
        for option in event.options(event.details["input"]):
            flat = _flattened(option)
            loader = _loader(flat.inputs[0]) if flat is not None else None
            if flat is not None and loader is not None and (confidence := _holds_several(loader)):
                yield _mixed(event, flat, loader, confidence)


_POINTWISE = torch_api.ACTIVATION_OPS | frozenset("dropout to float cuda contiguous clone requires_grad_".split())


def _flattened(value: Value) -> Term | None:
    """The operation that made one row of a whole tensor, if that is what a layer is given."""
    while type(value) is Term and value.op in _POINTWISE:
        value = value.inputs[0]
    if type(value) is not Term or value.info is None or "args" not in value.info or "layer" in value.info:
        return None
    sizes = value.info["args"].all[1:]
    if value.op in ("flatten", "ravel"):
        return value if not sizes else None
    row = len(sizes) == 1 and type(sizes[0]) is Const and sizes[0].value == -1
    return value if value.op in ("view", "reshape") and row else None


_KEEPS_BATCH = (
    _POINTWISE
    | torch_api.MODE_OPS
    | frozenset("conv linear norm pool adaptive_pool upsample pad view reshape flatten unsqueeze cpu double".split())
    | {"forward", "returned"}
)


def _loader(value: Value) -> Lib | None:
    """The loader whose whole batch a tensor was computed from."""
    while type(value) is Term and value.op in _KEEPS_BATCH and value.inputs:
        value = value.inputs[0]
    if type(value) is not Term or not is_data(value):
        return None
    source = next((t for t in graph.ancestors(value, through_cuts=True) if t.op == "batch"), None)
    return source.inputs[0] if source is not None and value.op in ("part", "batch") else None


def _holds_several(loader: Lib) -> Confidence | None:
    """How certain it is that a batch holds several examples; by default it holds one."""
    size = loader.args.get("batch_size")
    if size is None or (type(size) is Const and size.value in (None, 1)):
        return None
    return Confidence.CERTAIN if type(size) is Const else Confidence.LIKELY


def _mixed(event: Event, flat: Term, loader: Lib, confidence: Confidence) -> Draft:
    site = Site(flat.source, flat.node) if flat.source is not None and flat.node is not None else event.site
    message = f"`{wording.text(site)}` makes one row of all examples of the batch, and a linear layer is given it"
    evidence = ((Site(loader.source, loader.node), "batches of this loader"), (event.site, "the linear layer"))
    return Draft("ND504", site, message, evidence, confidence)


# ND114

_ELEMENTWISE = frozenset("MSELoss L1Loss SmoothL1Loss HuberLoss mse_loss l1_loss smooth_l1_loss huber_loss".split())


@rule("ND114")
def loss_shape_broadcast(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["name"] not in _ELEMENTWISE:
            continue
        given, target = event.tensors(event.subject), event.tensors(event.details["target"])
        pairs = [(a, b) for a in given for b in target]
        if pairs and all(_column_meets_row(a, b) or _column_meets_row(b, a) for a, b in pairs):
            yield _broadcast(event, *pairs[0])
    yield from _differences(program)


def _column_meets_row(column: Value, row: Value) -> bool:
    """Whether a `(N, 1)` and a `(N,)` tensor meet, which broadcast to `(N, N)`."""
    return _row(row) is not None and type(column) is Term and _is_column(column)


_ELEMENTWISE_OPS = frozenset({"+", "-", "*", "/", "neg", "float", "detach", "to"})


def _row(value: Value, depth: int = 4) -> Dim | None:
    """The length of a tensor of one axis; an unknown operand is taken to be no wider."""
    if type(value) is not Term:
        return None
    if value.shape is not None and value.shape.dims is not None:
        dims = value.shape.dims
        return dims[0] if len(dims) == 1 and not dims[0].is_one else None
    first = value.inputs[0] if value.inputs else None
    if value.op == "part" and type(first) is Term and first.op == "max" and type(first.inputs[0]) is Term:
        return _row(first, depth - 1)
    if value.op not in _ELEMENTWISE_OPS or not depth or any(map(_is_table, value.inputs)):
        return None
    return next((dim for dim in (_row(part, depth - 1) for part in value.inputs) if dim is not None), None)


def _is_table(value: Value) -> bool:
    """Whether a tensor is known to have more than one axis."""
    dims = value.shape.dims if type(value) is Term and value.shape is not None else None
    return dims is not None and len(dims) > 1


def _is_column(tensor: Term) -> bool:
    dims = tensor.shape.dims if tensor.shape is not None else None
    if dims is not None:
        return len(dims) == 2 and dims[1].is_one and not dims[0].is_one
    return _is_column_of_batch(tensor)


def _is_column_of_batch(tensor: Term) -> bool:
    """Whether a network with one output unit was given whole batches."""
    value: Value = tensor
    while type(value) is Term and value.op in _POINTWISE | {"forward", "returned"}:
        value = value.inputs[0]
    layer = (value.info or {}).get("layer") if type(value) is Term and value.op == "linear" else None
    units = layer.args.get("out_features") if type(layer) is Lib else None
    loader = _loader(value) if type(units) is Const and units.value == 1 else None
    return loader is not None and _holds_several(loader) is not None


def _broadcast(event: Event, given: Term, target: Term) -> Draft:
    site = wording.argument_site(event.site)
    shapes = ("(N, 1)", "(N,)") if _column_meets_row(given, target) else ("(N,)", "(N, 1)")
    message = f"`{wording.text(site)}` is {shapes[0]} and its target {shapes[1]}: they broadcast to (N, N)"
    treatment = "Bring both to one shape: `.squeeze(1)` of the output, or `.unsqueeze(1)` of the target."
    return Draft("ND114", site, message, (*wording.made_at(given), *wording.made_at(target)), treatment=treatment)


def _differences(program: Program) -> Iterator[Draft]:
    """Differences between a column and a row of the same length in what is back-propagated, such as `(out - y)**2`."""
    seen: set[int] = set()
    for event in program.of("backward"):
        for term in graph.ancestors(event.subject, seen=seen):
            if term.op not in ("-", "*") or len(term.inputs) != 2:
                continue
            if _same_length(*term.inputs) or _same_length(*term.inputs[::-1]):
                site = Site(term.source, term.node) if term.source is not None and term.node is not None else event.site
                message = f"`{wording.text(site)}` takes (N, 1) and (N,) to (N, N): each example meets all others"
                yield Draft("ND114", site, message, ((event.site, "back-propagated here"),))


_COLUMNS = frozenset({"forward", "linear", "gather"})  # where a column was not made on purpose


def _same_length(column: Value, row: Value) -> bool:
    if type(column) is not Term or column.op not in _COLUMNS or not _column_meets_row(column, row):
        return False
    dims, length = column.shape.dims if column.shape is not None else None, _row(row)
    return dims is not None and length is not None and dims[0].equals(length)
