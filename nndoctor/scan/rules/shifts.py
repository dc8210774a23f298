"""Sequences shifted against each other: whether one slice begins one step behind another of the same tensor."""

from __future__ import annotations

from collections import Counter

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Program
from nndoctor.scan.shapes import Dim
from nndoctor.scan.values import Const, Container, Lib, Term, Tuple, Value, is_none

_COPIES = torch_api.TRANSPARENT | {"from_numpy", "as_tensor", "tensor", "asarray", "array", "long", "Tensor", "copy"}


def inputs_behind(logits: Value, target: Value) -> Term | None:
    """The tensor that went into the logits and whose every element has the target for its next one."""
    ahead = _last_slice(target)
    if ahead is None:
        return None
    source = _copied(ahead.inputs[0])
    for term in graph.ancestors(logits, through_cuts=True):
        if term.op == "index" and _copied(term.inputs[0]) is source and _is_behind(term, ahead):
            return term
    return source if _first_of(ahead) == 1 and _drops_last(logits) and _feeds(source, logits) else None


def are_same(first: Value, second: Value) -> bool:
    """Whether two tensors certainly hold the same elements in the same order, in whatever shape."""
    first, second = _untouched(first), _untouched(second)
    if first is second:
        return True
    if type(first) is not Term or type(second) is not Term or first.op != second.op or first.op != "index":
        return False
    parts = list(zip(first.inputs[1:], second.inputs[1:], strict=False))
    equal = len(first.inputs) == len(second.inputs) and all(_cut_alike(a, b) for a, b in parts)
    return equal and are_same(first.inputs[0], second.inputs[0])


_SHAPED = frozenset(  # neither a clone, which may be changed afterwards, nor anything that moves or hides elements
    """view reshape flatten squeeze unsqueeze contiguous to cuda cpu long type data detach identity returned pin_memory
    from_numpy as_tensor stack""".split()
)


def _untouched(value: Value) -> Value:
    """The tensor whose elements these are, on whatever device and in whatever shape."""
    while type(value) is Term and value.op in _SHAPED and value.inputs:
        inner = _content(value.inputs[0])
        if type(inner) is not Term:
            break
        value = inner
    return value


def _cut_alike(first: Value, second: Value) -> bool:
    """Whether two indices choose the same."""
    if type(first) is Term and type(second) is Term and first.op == second.op == "slice":
        pairs = zip(first.inputs, second.inputs, strict=True)
        return all(is_none(a) is is_none(b) and _difference(a, b) == 0 for a, b in pairs)
    return first is second or (type(first) is Const is type(second) and first.value == second.value)


def batch_behind(program: Program, logits: Value, target: Value) -> Term | None:
    """The part of a batch that went into the logits, if its data set cuts it one step behind that for the target."""
    ahead = _copied(target)
    wanted = _example(program, ahead)
    faster = _last_slice(wanted)
    if faster is None:
        return None
    for term in graph.ancestors(logits, through_cuts=True):
        if term.op == ahead.op and term is not ahead and term.inputs[0] is ahead.inputs[0]:
            slower = _last_slice(_example(program, term))
            if slower is not None and _copied(slower.inputs[0]) is _copied(faster.inputs[0]):
                return term if _is_behind(slower, faster) else None
    return None


def _example(program: Program, part: Value) -> Value:
    """What the data set gives for one part of a batch; None where that is not known."""
    if type(part) is not Term or part.op not in ("part", "item") or len(part.inputs) != 2:
        return None
    batch, place = part.inputs
    loader = batch.inputs[0] if type(batch) is Term and batch.op == "batch" else None
    dataset = loader.args.get("dataset") if type(loader) is Lib and "collate_fn" not in loader.args else None
    while type(dataset) is Lib and dataset.kind == "dataset":
        dataset = dataset.args.get("dataset")
    results = [event.details["result"] for event in program.of("example") if event.subject is dataset]
    items = results[0].items if len(results) == 1 and type(results[0]) is Tuple else ()
    known = type(place) is Const and isinstance(place.value, int) and -len(items) <= place.value < len(items)
    return items[place.value] if known else None


def _feeds(source: Value, logits: Value) -> bool:
    return any(term is source for term in graph.ancestors(logits, through_cuts=True))


def _last_slice(value: Value) -> Term | None:
    """The slice that gave a tensor its elements, whatever its shape was made into since."""
    while type(value) is Term and value.op in _COPIES and value.inputs:
        if _bounds(value) is not None:
            return value
        value = _content(value.inputs[0])
    return None


def _copied(value: Value) -> Value:
    """The tensor of which this is a copy on another device, of another type or in another shape."""
    while type(value) is Term and value.op in _COPIES - {"index", "forward"} and value.inputs:
        value = _content(value.inputs[0])
    return value


def _content(value: Value) -> Value:
    """What a list that is stacked holds, if its items are made in one place."""
    held = kinds.held(value) if type(value) in (Container, Tuple) else ()
    return held[0] if len(held) == 1 else value


def _bounds(term: Term) -> tuple[Value, ...] | None:
    """First, last and step of `x[..., a:b, :]`; None if it is no such slice."""
    cuts = [part for part in term.inputs[1:] if type(part) is Term and part.op == "slice"]
    whole = all(type(part) is Term and part.op in ("slice", "full slice", "ellipsis") for part in term.inputs[1:])
    return cuts[0].inputs if term.op == "index" and whole and len(cuts) == 1 else None


def _is_behind(slower: Term, faster: Term) -> bool:
    """Whether two slices along the same axis are one step apart at both ends."""
    ours, theirs = _bounds(slower), _bounds(faster)
    if ours is None or theirs is None or _axes(slower) != _axes(faster):
        return False
    if not (is_none(ours[2]) and is_none(theirs[2])) or _difference(theirs[0], ours[0]) != 1:
        return False
    open_end = is_none(theirs[1]) and type(ours[1]) is Const and ours[1].value == -1
    return open_end or (not is_none(theirs[1]) and _difference(theirs[1], ours[1]) == 1)


def _axes(term: Term) -> list[str]:
    return [part.op for part in term.inputs[1:]]


def _first_of(term: Term) -> Value:
    bounds = _bounds(term)
    first, last, step = bounds if bounds is not None else (None, None, None)
    return first.value if type(first) is Const and is_none(last) and is_none(step) else None


def _drops_last(logits: Value) -> bool:
    """Whether the logits of the last step were cut off."""
    cut = _last_slice(logits)
    bounds = _bounds(cut) if cut is not None else None
    return bounds is not None and is_none(bounds[0]) and type(bounds[1]) is Const and bounds[1].value == -1


def _difference(later: Value, earlier: Value) -> int | None:
    """By what number one index exceeds another; None if that is not known."""
    left, right = _sum(later), _sum(earlier)
    left.subtract(right)
    constant = left.pop(1, 0)
    return constant if not any(left.values()) else None


def _sum(value: Value) -> Counter[int]:
    """An index as a sum: how often each term occurs in it, by its id, and under 1 the number added."""
    if type(value) is Const:
        return Counter({1: value.value if isinstance(value.value, int) else 0})
    if type(value) is Dim and not value.atoms:
        return Counter({1: value.number})
    if type(value) is Term and value.op in ("+", "-") and len(value.inputs) == 2:
        left, right = map(_sum, value.inputs)
        (left.update if value.op == "+" else left.subtract)(right)
        return left
    return Counter({id(value): 1})
