"""What rules ask about batches: where a loop draws them from, how many examples they hold, what measures them."""

from __future__ import annotations

from dataclasses import dataclass

from nndoctor.scan.program import Event, Loop
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Lib, Term, Value, leaves

_ADAPTERS = frozenset({"enumerate", "iter", "reversed"})
_YIELDED = frozenset({"batch", "element"})


def source_of(iterable: Value | None) -> Value | None:
    """The loader or dataset that an iterable draws on, without `enumerate` and the like."""
    while type(iterable) is Term and iterable.op in _ADAPTERS and iterable.inputs:
        iterable = iterable.inputs[0]
    return iterable


def is_loader(value: Value | None) -> bool:
    """Whether a value is a DataLoader of torch."""
    return type(value) is Lib and value.kind == "loader"


def datasets_of(loader: Value) -> list[Value]:
    """What the dataset of a loader can be."""
    return list(leaves(loader.args["dataset"])) if is_loader(loader) and "dataset" in loader.args else []


def holds_one(loader: Value) -> bool | None:
    """Whether the batches of a loader hold one example each; None if that is unknown."""
    if not is_loader(loader):
        return None
    size = loader.args.get("batch_size")
    if size is None:
        return None if "batch_sampler" in loader.args or "$open" in loader.attrs else True
    return size.value in (1, None) if type(size) is Const else None


def holds_all(loader: Value) -> bool:
    """Whether the only batch of a loader may be the whole dataset."""
    size = loader.args.get("batch_size") if is_loader(loader) else None
    return type(size) is Dim or (type(size) is Term and size.op == "len")


def is_batch_of(value: Value, loader: Value) -> bool:
    """Whether a value is, or is a part of, what an iteration over a loader yields."""
    while type(value) is Term and value.inputs:
        if value.op in _YIELDED:
            return source_of(value.inputs[0]) is loader
        if value.op not in ("part", "item", "to", "cuda", "returned"):
            return False
        value = value.inputs[0]
    return False


def batch_loop(event: Event) -> Loop | None:
    """The innermost loop of an event, if it runs over a loader or something that may be one."""
    loop = event.loops[-1] if event.loops else None
    if loop is None or loop.unrolled:
        return None
    source = source_of(loop.iterable)
    return loop if is_loader(source) or (type(source) is Term and source.op not in _NO_LOADERS) else None


_NO_LOADERS = frozenset({"range", "zip", "items", "values", "counter", "generator"})


# What one number says of a batch --------------------------------------------------------------------------------------

MEAN, SUM = "mean", "sum"


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean or a sum over the examples of a batch, and the loss or comparison that it was computed from."""

    kind: str
    origin: Term


_PASSING = frozenset(
    """number detach data cpu cuda to numpy float double returned forward tolist clone long""".split()
) | {"float number"}
_COMPARED = frozenset({"Equal", "eq"})
_MEANS = frozenset({"mean", "batchmean", "elementwise_mean"})


def measured(value: Value) -> Measure | None:
    """What a number says of a batch; None if that is unknown."""
    if type(value) is Dim:
        found = [m for m in map(measured, value.atoms) if m is not None and m.kind == MEAN]
        return Measure(SUM, found[0].origin) if len(found) == 1 and value.atoms.total() == 2 else None
    if type(value) is not Term:
        return None
    if value.op in _PASSING and value.inputs:
        return measured(value.inputs[0])
    rule = _MEASURES.get(value.op)
    return rule(value) if rule is not None else None


def _of_loss(term: Term) -> Measure | None:
    options = (term.info or {}).get("options", {})
    reduction = options.get("reduction", Const("mean"))
    if "size_average" in options or "reduce" in options or type(reduction) is not Const:
        return None
    if reduction.value in _MEANS:
        return Measure(MEAN, term)
    return Measure(SUM, term) if reduction.value == "sum" else None


def _reduced(term: Term) -> Measure | None:
    """`(pred == y).sum()`, `(pred == y).float().mean()`, or the mean of a loss without reduction."""
    args = (term.info or {}).get("args")
    source = term.inputs[0]
    if args is None or len(args.all) > 1:
        return None
    while type(source) is Term and source.op in _PASSING:
        source = source.inputs[0]
    if type(source) is not Term or not (source.op in _COMPARED or (source.op == "loss" and term.op == "mean")):
        return None
    return Measure(MEAN if term.op == "mean" else SUM, source)


def _weighted(term: Term) -> Measure | None:
    """`100 * accuracy`, `loss / 2`."""
    left, right = term.inputs
    if type(right) is Const:
        return measured(left)
    return measured(right) if type(left) is Const and term.op == "*" else None


_MEASURES = {"loss": _of_loss, "sum": _reduced, "mean": _reduced, "*": _weighted, "/": _weighted}
