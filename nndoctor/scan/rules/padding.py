"""Padded sequences: losses of tokens in which the padding counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Container, Lib, Site, Term, Tuple, Value

IGNORED_BY_DEFAULT = -100  # torch's own `ignore_index`


@rule("ND119")
def padding_in_loss(program: Program) -> Iterator[Draft]:
    padders = {id(e.details["result"]): e for e in program.calls("torch.nn.utils.rnn.pad_sequence")}
    collated = {id(event.subject): event.details["result"] for event in program.of("collated")}
    masked = {id(event.subject) for event in program.of("overwritten")}
    for event in program.of("loss"):
        if not _counts_all(event):
            continue
        for target in event.tensors(event.details["target"]):
            way = _way(target)
            if any(id(term) in masked for term in way):
                continue
            yield from _padded_by_call(event, _made_by_collation(way, collated), padders)
            yield from _padded_by_embedding(event, way)


def _counts_all(event: Event) -> bool:
    """Whether a loss of classes averages over every target, without weights, which may be zero for the padding."""
    classes = event.details["expects"] in (torch_api.LOGITS, torch_api.LOG_PROBABILITIES)
    chosen = {"weight", "ignore_index", "$open"} & event.details["options"].keys()
    return classes and bool(event.details["whole"]) and not chosen


_SAME_TOKENS = frozenset(
    """view reshape flatten contiguous to cuda long transpose permute t T clone type ravel swapaxes pin_memory
    xpu npu squeeze detach data""".split()
)
_SLICES = frozenset({"slice", "full slice", "ellipsis"})


def _way(target: Value) -> list[Term]:
    """A tensor and what it was, but for its shape and ends; without masks and choices of single elements."""
    way: list[Term] = []
    while type(target) is Term:
        way.append(target)
        sliced = target.op == "index" and all(type(p) is Term and p.op in _SLICES for p in target.inputs[1:])
        if not (sliced or target.op in _SAME_TOKENS):
            break
        target = target.inputs[0]
    return way


def _made_by_collation(way: list[Term], collated: dict[int, Value]) -> list[Term]:
    """The way on into the project's `collate_fn`, if the tensor is a part of what that returned."""
    part = way[-1] if way else None
    if part is None or part.op not in ("part", "item") or type(part.inputs[0]) is not Term:
        return way
    source, key = part.inputs[0], part.inputs[1] if len(part.inputs) > 1 else None
    made = collated.get(id(source.inputs[0])) if source.op == "batch" and source.inputs else None
    return [*way, *_way(_at(made, key.value))] if type(key) is Const else way


def _at(made: Value, key: Any) -> Value:
    if type(made) is Tuple:
        return made.items[key] if type(key) is int and key < len(made.items) else None
    items = made.attrs.get("$items") if type(made) is Container else None
    if type(items) is dict:
        return items.get(key)
    return items[key] if type(items) is tuple and type(key) is int and key < len(items) else None


def _padded_by_call(event: Event, way: list[Term], padders: dict[int, Event]) -> Iterator[Draft]:
    padder = next((padders[id(term)] for term in way if id(term) in padders), None)
    if padder is None:
        return
    value = padder.details["args"].get(2, "padding_value") or Const(0)
    if type(value) is Const and isinstance(value.value, int | float) and value.value != IGNORED_BY_DEFAULT:
        yield _draft(event, f"{value.value:g}", padder.site, f"padded with {value.value:g} here")


def _padded_by_embedding(event: Event, way: list[Term]) -> Iterator[Draft]:
    """The same tokens go through an embedding that calls one of them padding."""
    tokens = {id(term) for term in way if term.op in ("part", "item", "batch", "parameter", "element")}
    if not tokens:
        return
    for term in graph.ancestors(event.subject, through_cuts=True):
        layer = (term.info or {}).get("layer") if term.op == "embedding" else None
        index = layer.args.get("padding_idx") if type(layer) is Lib else None
        if type(layer) is not Lib or type(index) is not Const or index.value is None:
            continue
        if any(id(source) in tokens for source in _way(term.inputs[0])):
            yield _draft(event, str(index.value), layer.site, f"{index.value} is padding here")
            return


def _draft(event: Event, padding: str, site: Site, words: str) -> Draft:
    name = event.details["name"]
    message = f"{name} counts the padding ({padding}) as targets: nothing says ignore_index={padding}"
    called = "nn." if name[0].isupper() else "F."
    treatment = f"Pass `ignore_index={padding}` to `{called}{name}`, or pad the targets with {IGNORED_BY_DEFAULT}."
    place = wording.argument_site(event.site)
    return Draft("ND119", place, message, ((site, words),), Confidence.LIKELY, treatment=treatment)
