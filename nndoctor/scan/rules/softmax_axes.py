"""The axis of a softmax: one with a single entry, or one that does not hold the classes."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Lib, Term, Value


def _axis(event: Event, rank: int | None) -> int | None:
    """The axis a softmax works on; without one torch takes 0 of one or three dimensions, else 1."""
    told = event.details["axis"]
    if told is None:
        return None if rank is None else 0 if rank in (0, 1, 3) else 1
    return told.value if type(told) is Const and type(told.value) is int else None


def _dims(value: Value) -> tuple[Dim, ...] | None:
    return value.shape.dims if type(value) is Term and value.shape is not None else None


_KEEPS_AXES = torch_api.CASTS | frozenset(
    {"forward", "returned", "contiguous", "clone", "log", "clamp", "dropout", "masked_fill"}
)

# ND109


@rule("ND109")
def softmax_over_one_unit(program: Program) -> Iterator[Draft]:
    defaults = {id(value) for function in program.functions for value in function.defaults.values()}
    yield from _cross_entropy_over_one(program, defaults)
    several: set[int] = set()  # sites at which some run has more than one entry
    found: dict[int, Draft] = {}
    for event in program.of("softmax"):
        layer = _one_unit(event)
        if layer is None or _is_assumed(event, layer, defaults):
            several.add(id(event.site.node))
        else:
            message = f"`{wording.text(event.site)}` is taken over a single unit: it is constant, whatever goes in"
            found[id(event.site.node)] = Draft("ND109", event.site, message, wording.made_at(layer))
    yield from (draft for node, draft in found.items() if node not in several)


def _is_assumed(event: Event, layer: Term, defaults: set[int]) -> bool:
    """Whether the size is a default, and nobody knows what the callers pass."""
    return id(_width(layer)) in defaults and not event.has_known_caller


def _one_unit(event: Event) -> Term | None:
    """The layer of one unit over which a softmax is taken."""
    layer, dims = _layer_of_one(event.subject), _dims(event.subject)
    axis = _axis(event, None if dims is None else len(dims))
    if layer is None or axis is None:
        return None
    return layer if axis == (units := -1 if layer.op == "linear" else 1) or _is_same(axis, units, dims) else None


def _is_same(axis: int, other: int, dims: tuple[Dim, ...] | None) -> bool:
    return dims is not None and axis % len(dims) == other % len(dims)


def _layer_of_one(value: Value) -> Term | None:
    """The linear layer or convolution of one unit that gave a tensor, whose axes are as they were."""
    if type(value) is not Term or value.act is None:
        return None
    *steps, made = wording.way(value)
    if not all(step.op in _KEEPS_AXES for step in steps):
        return None
    width = _width(made) if made.op in ("linear", "conv") else None
    return made if type(width) is Const and width.value == 1 else None


def _width(made: Term) -> Value:
    """The number of outputs of a linear layer or convolution."""
    layer = (made.info or {}).get("layer")
    if type(layer) is not Lib:
        return None
    return layer.args.get("out_features" if made.op == "linear" else "out_channels")


def _cross_entropy_over_one(program: Program, defaults: set[int]) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["expects"] != torch_api.LOGITS:
            continue
        found = [_one_class(option) for option in event.tensors(event.subject)]
        if not found or found[0] is None or None in found:
            continue
        layer, confidence = found[0]
        if not _is_assumed(event, layer, defaults):
            site = wording.argument_site(event.site)
            message = f"`{wording.text(site)}` holds a single class: {event.details['name']} is 0 whatever goes in"
            treatment = "Use BCEWithLogitsLoss with one output, or give the last layer one output for each class."
            yield Draft("ND109", site, message, wording.made_at(layer), confidence, treatment=treatment)


def _one_class(value: Value) -> tuple[Term, Confidence] | None:
    """The layer that gives the only class; dimension 1 holds the classes, and is the last one of an unknown rank."""
    layer = _layer_of_one(value)
    if layer is None:
        return None
    dims = _dims(value)
    if layer.op == "conv" or (dims is not None and len(dims) == 2):
        return layer, Confidence.CERTAIN
    return (layer, Confidence.LIKELY) if dims is None else None


# ND110

_ELEMENTWISE = frozenset(
    {"/", "*", "+", "-", "masked_fill", "where", "clamp", "to", "float", "dropout", "relu", "tanh"}
)
_MERGES = frozenset({"view", "reshape", "flatten"})


@rule("ND110")
def softmax_wrong_dimension(program: Program) -> Iterator[Draft]:
    softmaxes = {id(event.details["result"]): event for event in program.of("softmax")}
    for event in softmaxes.values():
        yield from _over_batch_of_products(event)
    for event in program.of("loss"):
        if event.details["expects"] in (torch_api.LOGITS, torch_api.LOG_PROBABILITIES):
            for option in event.tensors(event.subject):
                yield from _not_over_classes(event, option, softmaxes)


def _over_batch_of_products(event: Event) -> Iterator[Draft]:
    """Attention scores: the keys are the last dimension of a product of queries and keys."""
    dims = _dims(event.subject)
    axis = _axis(event, None if dims is None else len(dims))
    if dims is None or len(dims) < 3 or not _is_product(event.subject):
        return
    if axis == 0 or event.details["axis"] is None:
        told = "is told" if event.details["axis"] is not None else "has no `dim`, and takes"
        what = "examples of the batch" if axis == 0 else "heads"
        message = f"`{wording.text(event.site)}` {told} dimension {axis}: the weights of different {what} sum to 1"
        yield Draft("ND110", event.site, message, wording.made_at(_product(event.subject)), treatment=_OVER_LAST)


_OVER_LAST = "Pass `dim=-1`: the last dimension of the scores holds the keys that are attended to."


def _product(value: Value) -> Term:
    while value.op != "@":
        value = next(part for part in value.inputs if _is_product(part))
    assert type(value) is Term
    return value


def _is_product(value: Value, depth: int = 8) -> bool:
    """Whether a tensor is a matrix product, scaled and masked."""
    if type(value) is not Term or not depth:
        return False
    return value.op == "@" or (
        value.op in _ELEMENTWISE and any(_is_product(part, depth - 1) for part in value.inputs[:2])
    )


def _not_over_classes(event: Event, option: Value, softmaxes: dict[int, Event]) -> Iterator[Draft]:
    """A softmax over another dimension than the one that the loss reads the classes from."""
    merged: Term | None = None
    value = option
    while type(value) is Term and id(value) not in softmaxes and value.inputs:
        if value.op in _MERGES and merged is None:
            merged = value
        elif value.op not in _KEEPS_AXES:
            return
        value = value.inputs[0]
    softmax = softmaxes.get(id(value))
    if softmax is None:
        return
    dims = _dims(softmax.subject)
    axis = _axis(softmax, None if dims is None else len(dims))
    if axis is None:
        return
    if merged is None:
        wrong = axis == 0 or (dims is not None and axis == -len(dims))
        classes = 1
    else:
        wrong, classes = _misses_last(axis, dims, _dims(merged)), -1
    if wrong:
        yield _axis_draft(event, softmax, axis, classes)


def _misses_last(axis: int, dims: tuple[Dim, ...] | None, viewed: tuple[Dim, ...] | None) -> bool:
    """Whether a view keeps the last dimension as the classes, and the softmax was taken over another one."""
    if dims is None or viewed is None or len(dims) < 3 or len(viewed) != 2:
        return False
    return dims[-1].equals(viewed[-1]) and axis % len(dims) != len(dims) - 1


def _axis_draft(event: Event, softmax: Event, axis: int, classes: int) -> Draft:
    over = "the batch" if axis == 0 else f"dimension {axis}"
    how = "without `dim` it is taken over" if softmax.details["axis"] is None else "it is taken over"
    last = "the last dimension" if classes == -1 else "dimension 1"
    message = f"`{wording.text(softmax.site)}`: {how} {over}, but {event.details['name']} reads the classes from {last}"
    evidence = ((event.site, "the loss"),)
    treatment = f"Pass `dim={classes}`: that is where the classes are."
    return Draft("ND110", softmax.site, message, evidence, treatment=treatment)
