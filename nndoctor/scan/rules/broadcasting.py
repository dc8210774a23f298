"""Losses of a column against a row: `(N, 1)` and `(N,)` broadcast to `(N, N)`."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.batch_axis import POINTWISE, batch_loader, holds_several
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Lib, Term, Tuple, Value

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


def _dims(value: Value) -> tuple[Dim, ...] | None:
    """The shape of a tensor; of a part of a batch, that of the tensor which its data set cuts into rows."""
    while type(value) is Term and value.shape is None and value.op in POINTWISE:
        value = value.inputs[0]
    if type(value) is not Term:
        return None
    if value.shape is not None:
        return value.shape.dims
    loader = batch_loader(value)
    dataset = loader.args.get("dataset") if loader is not None and "collate_fn" not in loader.args else None
    while type(dataset) is Lib and dataset.name == "Subset":
        dataset = dataset.args.get("dataset")
    tensors = dataset.args.get("tensors") if type(dataset) is Lib else None
    index = value.inputs[1].value if len(value.inputs) > 1 and type(value.inputs[1]) is Const else None
    if type(tensors) is not Tuple or type(index) is not int or index >= len(tensors.items):
        return None
    whole = tensors.items[index]
    return whole.shape.dims if type(whole) is Term and whole.shape is not None else None


def _row(value: Value, depth: int = 4) -> Dim | None:
    """The length of a tensor of one axis; an unknown operand is taken to be no wider."""
    if type(value) is not Term:
        return None
    dims = _dims(value)
    if dims is not None:
        return dims[0] if len(dims) == 1 and not dims[0].is_one else None
    first = value.inputs[0] if value.inputs else None
    if value.op == "part" and type(first) is Term and first.op == "max" and type(first.inputs[0]) is Term:
        return _row(first, depth - 1)
    if value.op not in _ELEMENTWISE_OPS or not depth or any(map(_is_table, value.inputs)):
        return None
    return next((dim for dim in (_row(part, depth - 1) for part in value.inputs) if dim is not None), None)


def _is_table(value: Value) -> bool:
    """Whether a tensor is known to have more than one axis."""
    dims = _dims(value)
    return dims is not None and len(dims) > 1


def _is_column(tensor: Term) -> bool:
    dims = _dims(tensor)
    if dims is not None:
        return len(dims) == 2 and dims[1].is_one and not dims[0].is_one
    return _is_column_of_batch(tensor)


def _is_column_of_batch(tensor: Term) -> bool:
    """Whether a network with one output unit was given whole batches."""
    value: Value = tensor
    while type(value) is Term and value.op in POINTWISE | {"forward", "returned"}:
        value = value.inputs[0]
    layer = (value.info or {}).get("layer") if type(value) is Term and value.op == "linear" else None
    units = layer.args.get("out_features") if type(layer) is Lib else None
    loader = batch_loader(value) if type(units) is Const and units.value == 1 else None
    return loader is not None and holds_several(loader) is not None


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
                site = term.site or event.site
                message = f"`{wording.text(site)}` takes (N, 1) and (N,) to (N, N): each example meets all others"
                yield Draft("ND114", site, message, ((event.site, "back-propagated here"),))


_COLUMNS = frozenset({"forward", "linear", "gather"})  # where a column was not made on purpose


def _same_length(column: Value, row: Value) -> bool:
    if type(column) is not Term or column.op not in _COLUMNS or not _column_meets_row(column, row):
        return False
    dims, length = column.shape.dims if column.shape is not None else None, _row(row)
    return dims is not None and length is not None and dims[0].equals(length)
