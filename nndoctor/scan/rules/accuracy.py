"""Accuracies: predictions that were chosen over the wrong axis before they are compared with the labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.batches import holds_one, is_batch_of, is_loader, source_of
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Lib, Term, Value

_LOADER_NAME = re.compile(r"load|(^|_)(dl|iter)($|_)", re.IGNORECASE)
_KEEP_CHOICE = frozenset(
    """cpu cuda to numpy data detach squeeze view view_as reshape flatten long type float double clone contiguous
    tolist returned""".split()
) | {"float number"}
_KEEP_AXES = frozenset(
    """softmax log_softmax sigmoid exp detach data cpu cuda to numpy float double clone contiguous dropout
    returned""".split()
)
_PAIRS = frozenset({"max", "topk"})


@rule("ND614")
def accuracy_over_wrong_axis(program: Program) -> Iterator[Draft]:
    for event, left, right in _comparisons(program):
        for predicted, labels in ((left, right), (right, left)):
            chosen = _choice(predicted)
            if chosen is None:
                continue
            output = _bare(chosen.info["args"].positional[0], _KEEP_AXES)  # type: ignore[index]
            dim = _dimension(chosen)
            if dim in (1, -1) and _is_single_logit(output):
                yield _of_one(event, chosen)
            elif dim in (0, None) and (trust := _is_batched(output, _bare(labels, _KEEP_CHOICE), dim)):
                yield _over_batch(event, chosen, dim, trust)


def _comparisons(program: Program) -> Iterator[tuple[Event, Value, Value]]:
    for event in program.of("comparison"):
        yield event, event.subject, event.details["other"]
    for event in program.methods("eq"):
        yield event, event.subject, event.details["args"].get(0, "other")
    for event in program.calls("torch.eq", "sklearn.metrics.accuracy_score"):
        args = event.details["args"]
        yield event, args.get(0, "y_true" if "sklearn" in event.details["name"] else "input"), args.get(1, "y_pred")


def _bare(value: Value, operations: frozenset[str]) -> Value:
    while type(value) is Term and value.op in operations and value.inputs:
        value = value.inputs[0]
    return value


def _choice(value: Value) -> Term | None:
    """The argmax, max or topk whose places a value holds."""
    value = _bare(value, _KEEP_CHOICE)
    if type(value) is not Term:
        return None
    pair = value.inputs[0] if value.inputs else None
    if type(pair) is Term and pair.op in _PAIRS and _is_second(value):
        value = pair
    elif value.op != "argmax":
        return None
    args = (value.info or {}).get("args")
    return value if args is not None and args.positional and not args.open and value.node is not None else None


def _is_second(part: Term) -> bool:
    """Whether this is the second of what `max(dim)` returns: the places, not the values."""
    if part.op == "argmax":
        return True
    which = part.inputs[1] if len(part.inputs) > 1 else None
    return which == "indices" or (part.op in ("item", "index", "part") and type(which) is Const and which.value == 1)


def _dimension(chosen: Term) -> object:
    """The axis; None if there is none, and a text if it is unknown."""
    args = chosen.info["args"]  # type: ignore[index]
    dim = args.keywords.get("axis") or args.get(2 if chosen.op == "topk" else 1, "dim")
    if dim is None:
        return "last" if chosen.op == "topk" else None
    return dim.value if type(dim) is Const and type(dim.value) is int else "unknown"


def _is_single_logit(output: Value) -> bool:
    """Whether a tensor is what a linear layer of one unit gives."""
    while type(output) is Term and (output.op == "forward" or output.op in _KEEP_AXES) and output.inputs:
        output = output.inputs[0]
    layer = (output.info or {}).get("layer") if type(output) is Term and output.op == "linear" else None
    units = layer.args.get("out_features") if type(layer) is Lib else None
    return type(units) is Const and units.value == 1


def _is_batched(output: Value, labels: Value, dim: object) -> Confidence | None:
    """How sure it is that a model's output has one row for each of the labels of a batch."""
    if type(output) is not Term or output.op not in ("forward", "linear") or type(labels) is not Term:
        return None
    loaders = [source_of(t.inputs[0]) for t in graph.ancestors(output, through_cuts=True) if t.op in _DRAWN]
    loader = next((found for found in loaders if is_batch_of(labels, found)), None)
    one = holds_one(loader)
    if loader is None or one:
        return None
    if one is None and (dim is None or not (is_loader(loader) or _LOADER_NAME.search(kinds.name_of(loader)))):
        return None
    return Confidence.LIKELY if one is None else Confidence.CERTAIN


_DRAWN = frozenset({"batch", "element"})


def _over_batch(event: Event, chosen: Term, dim: object, trust: Confidence) -> Draft:
    site = chosen.site
    assert site is not None
    if dim is None:
        message = f"`{wording.text(site)}` is one place in the whole batch, not one class for each example"
    else:
        message = f"`{wording.text(site)}` chooses one example for each class, not one class for each example"
    return Draft("ND614", site, message, ((event.site, "compared with the labels here"),), trust)


def _of_one(event: Event, chosen: Term) -> Draft:
    site = chosen.site
    assert site is not None
    message = f"`{wording.text(site)}` is always 0: the model has one output unit"
    advice = "Compare the logit with 0 (a probability with 0.5): `pred = (output.squeeze(1) > 0).long()`."
    return Draft("ND614", site, message, ((event.site, "compared with the labels here"),), treatment=advice)
