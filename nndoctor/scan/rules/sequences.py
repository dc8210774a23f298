"""Sequences in recurrent layers and attention: which dimension is time, and what the last step has seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Lib, Site, Term, Value, leaves

_SEQUENCE_LAYERS = frozenset({"rnn", "attention", "transformer"})
# Steps that stand for a sequence: its last one, or the class token in front; of an RNN `[:, 0]` drops a batch of one.
_STEPS = {"rnn": (-1,), "attention": (-1,), "transformer": (-1, 0)}
_INNER = {"TransformerEncoder": "encoder_layer", "TransformerDecoder": "decoder_layer"}


@rule("ND418")
def batch_first_mismatch(program: Program) -> Iterator[Draft]:
    for event in program.of("apply"):
        if event.details["operation"] in _SEQUENCE_LAYERS and _is_batch_first(event.subject) is False:
            yield from _given_batch_first(event)
    for event in program.of("steps of sequence"):
        layer = event.subject.info["layer"]
        step = _step_taken(event.details["parts"], 1)
        if _is_batch_first(layer) is False and step in _STEPS[event.subject.op] and not _is_single(event.subject):
            name, end = wording.text(event.site), "last" if step else "first"
            message = f"`{name}` is the {end} example of the batch, not the {end} step: {layer.name} is not batch-first"
            evidence = (*wording.made_at(event.subject), (layer.site, "made without batch_first"))
            yield Draft("ND418", event.site, message, evidence, Confidence.LIKELY)


def _given_batch_first(event: Event) -> Iterator[Draft]:
    """A finding if dimension 0 of the input is the batch, whatever was given."""
    options, layer = event.tensors(event.details["input"]), event.subject
    origins = [_batch_origin(option) for option in options]
    if not origins or None in origins:
        return
    name = wording.text(wording.argument_site(event.site))
    message = f"{layer.name} takes (steps, batch, features), but the first dimension of `{name}` is the batch"
    made = (layer.site, "made without batch_first")
    yield Draft("ND418", event.site, message, (*_where(origins[0]), made), Confidence.CERTAIN)


def _where(origin: Term | None) -> tuple[tuple[Site, str], ...]:
    site = origin.site if origin is not None else None
    if site is None:
        return ()
    return ((site, "here the first dimension is the batch"),)


def _batch_origin(tensor: Value) -> Term | None:
    """The convolution, or the part of a loader's batch, whose batch dimension a tensor has in front."""
    first = _first_dimension(tensor)
    if first is None or not first.atoms or _is_single(tensor):
        return None
    for term in graph.ancestors(tensor, through_cuts=True):
        if (term.op == "conv" or _is_collated(term)) and term is not tensor:
            dim = _first_dimension(term)
            if dim is not None and dim.equals(first):
                return term
    return None


def _first_dimension(tensor: Value) -> Dim | None:
    shape = tensor.shape if type(tensor) is Term else None
    if shape is None:
        return None
    return (shape.dims[0] if shape.dims else None) if shape.dims is not None else shape.asked.get(0)


def _is_single(tensor: Term) -> bool:
    """Whether a tensor holds one sequence only: `(steps, 1, features)`, or `(steps, features)`."""
    dims = tensor.shape.dims if tensor.shape is not None else None
    return dims is not None and (len(dims) != 3 or dims[1].is_one)


def _is_collated(term: Term) -> bool:
    """Whether a term is what torch's own collation stacked: a part of a batch of a loader that has no other."""
    while term.op in ("part", "item") and type(term.inputs[0]) is Term:
        term = term.inputs[0]
    loader: Any = term.inputs[0] if term.op == "batch" and term.inputs else None
    if type(loader) is not Lib or loader.api != "torch.utils.data.DataLoader" or "$open" in loader.args:
        return False
    size = loader.args.get("batch_size")
    return not {"collate_fn", "batch_sampler"} & loader.args.keys() and type(size) is Const and size.value is not None


def _is_batch_first(layer: Lib) -> bool | None:
    """Whether a layer expects the batch in front; None if that is unknown."""
    inner = _INNER.get(layer.name)
    if inner is None:
        return _flag(layer, "batch_first")
    found = layer.args.get(inner)
    return _flag(found, "batch_first") if type(found) is Lib and found.kind == "layer" else None


def _flag(layer: Lib, name: str) -> bool | None:
    """An option that is False where it is left out; None if it is not known."""
    if name not in layer.args:
        return None if "$open" in layer.args else False
    truths = {bool(leaf.value) if type(leaf) is Const else None for leaf in leaves(layer.args[name])}
    return truths.pop() if len(truths) == 1 else None


def _step_taken(parts: tuple[Value, ...], axis: int) -> Value:
    """The constant place that an index takes along one axis, if it takes everything along the others."""
    if len(parts) <= axis or type(parts[axis]) is not Const:
        return None
    others = (*parts[:axis], *parts[axis + 1 :])
    whole = all(type(part) is Term and part.op in ("full slice", "ellipsis") for part in others)
    return parts[axis].value if whole else None


@rule("ND416")
def bidirectional_last_step(program: Program) -> Iterator[Draft]:
    for event in program.of("steps of sequence"):
        layer = event.subject.info["layer"]
        axis = {True: 1, False: 0}.get(_is_batch_first(layer))  # type: ignore[arg-type]
        if axis is None or _flag(layer, "bidirectional") is not True or _step_taken(event.details["parts"], axis) != -1:
            continue
        name = wording.text(event.site)
        message = f"`{name}` is the last step, of whose sequence the backward half of the {layer.name} saw one element"
        evidence = (*wording.made_at(event.subject), (layer.site, "bidirectional"))
        yield Draft("ND416", event.site, message, evidence, Confidence.CERTAIN)
