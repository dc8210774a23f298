"""Losses that no gradient leaves: decisions between model and loss, and losses that were cut from their graph."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.gradient_flow import HARD, Flow, flow, is_generated, is_made_trainable
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import ITEMS, LOSS, Const, Container, Site, Term, Value, leaves


@rule("ND111")
def loss_on_hard_decision(program: Program) -> Iterator[Draft]:
    told: set[int] = set()
    trained = program.backpropagated | _handed_to_engine(program)
    for event in program.of("loss"):
        if id(event.details["result"]) not in trained:
            continue
        cut = _decision(event, event.subject)
        if cut is not None and flow(event.details["target"]).carries is False:
            told.add(id(event.details["result"]))
            yield _decided(wording.argument_site(event.site), cut)
    for event in program.of("backward"):
        cut = _decision(event, event.subject)
        if cut is not None and not told & set(_loss_terms(event.subject)):
            site = _made(cut) or event.site
            message = f"the loss is computed from {_words(cut)}: no gradient gets back to the model"
            yield Draft("ND111", site, message, ((event.site, "back-propagated here"),))


def _handed_to_engine(program: Program) -> set[int]:
    """The ids of what a `training_step` returns as its loss."""
    found: set[int] = set()
    for event in program.of("training step"):
        for leaf in event.options(event.subject):
            items = leaf.attrs.get(ITEMS) if type(leaf) is Container else None
            loss = items.get("loss") if type(items) is dict else leaf
            found.update(id(term) for term in graph.ancestors(loss))
    return found


def _decision(event: Event, value: Value) -> Term | None:
    """The operation that decides, if it is what keeps every gradient from a tensor."""
    flows = [flow(option) for option in event.tensors(value)]
    if not flows or not all(found.is_severed for found in flows):
        return None
    cuts = [cut for found in flows for cut in found.cuts]
    return cuts[0] if all(is_decision(cut) for cut in cuts) else None


def is_decision(cut: Term) -> bool:
    """Whether a tensor was made into a choice: a class, a bit, a token."""
    return cut.op in HARD or is_generated(cut)


_WORDS = {
    "argmax": "an argmax",
    "argmin": "an argmin",
    "call": "the tokens that generate() chose",
    "number": "a Python int",
    "long": "integers",
    "round": "a rounding",
    "multinomial": "a sample",
    "bernoulli": "a sample",
}
_COMPARED = frozenset("Equal GreaterThan GreaterThanEqual LessThan LessThanEqual eq ne gt lt ge le".split())


def _words(cut: Term) -> str:
    return "a comparison" if cut.op in _COMPARED else _WORDS.get(cut.op, f"the result of {cut.op}")


def _decided(site: Site, cut: Term) -> Draft:
    made = _made(cut)
    where = f" ({wording.place(cut)})" if cut.node is not None else ""
    message = f"`{wording.text(site)}` is {_words(cut)}{where}: no gradient gets from the loss to the model"
    evidence = ((made, "the model's output becomes a decision here"),) if made is not None else ()
    return Draft("ND111", site, message, evidence)


def _made(cut: Term) -> Site | None:
    """Where a decision was made; the indices of `max` have the place of `max`."""
    first = cut.inputs[0] if cut.inputs else None
    return first.site if cut.op == "argmax" and cut.node is None and type(first) is Term else cut.site


def _loss_terms(value: Value) -> Iterator[int]:
    """The ids of a loss and of the terms that it is a sum of."""
    stack, seen = [value], set()
    while stack:
        term = stack.pop()
        if type(term) is Term and id(term) not in seen:
            seen.add(id(term))
            yield id(term)
            stack.extend(term.inputs)


# ND112


@rule("ND112")
def loss_cut_from_graph(program: Program) -> Iterator[Draft]:
    told: set[int] = set()
    for event in program.of("backward"):
        options = event.tensors(event.subject)
        flows = [flow(option) for option in options]
        if flows and all(_is_cut(found) for found in flows):
            told.update(map(id, options))
            yield _cut(event, flows[0].cuts[0], "backward reaches no parameter")
        elif event.details["optimizers"] and options and all(map(_is_new_leaf, options)):
            told.update(map(id, options))
            yield _cut(event, options[0], "backward reaches no parameter")
    yield from _numbers_added(program)
    yield from _made_leaves(program)
    yield from _wrapped(program, told)


def _is_cut(found: Flow) -> bool:
    return found.is_severed and not all(is_decision(cut) for cut in found.cuts)


def _is_new_leaf(value: Value) -> bool:
    """`torch.tensor(loss, requires_grad=True)` of a number nobody can follow; what is written out is a lesson."""
    if type(value) is not Term or value.op not in ("tensor", "Tensor", "FloatTensor") or not value.inputs:
        return False
    return is_made_trainable(value) and all(type(leaf) is Term for leaf in leaves(value.inputs[0]))


_NUMBERS = frozenset({"float number", "tensor", "Tensor", "FloatTensor", "numpy", "tolist"})


def _numbers_added(program: Program) -> Iterator[Draft]:
    """`loss + aux.item()`: a term that was made a number adds nothing to the gradient."""
    for event in program.of("backward"):
        for leaf in event.tensors(event.subject):
            for term in _added(leaf) if flow(leaf).carries else ():
                found = flow(term)
                if found.is_severed and all(cut.op in _NUMBERS for cut in found.cuts):
                    yield _cut(event, found.cuts[0], "it adds nothing to the gradient", Confidence.LIKELY)


def _added(value: Value) -> Iterator[Value]:
    """The terms that a loss is the sum of."""
    stack, seen = [value], set()
    while stack:
        term = stack.pop()
        if type(term) is Term and term.op in ("+", "returned", "scaled") and id(term) not in seen:
            seen.add(id(term))
            stack.extend(term.inputs)
        elif term is not value:
            yield term


_HOW = {
    "float number": "takes a Python number",
    "tensor": "copies the number into a new tensor",
    "detach": "detaches it",
    "data": "takes its data",
    "numpy": "goes through numpy",
}


def _cut(event: Event, cut: Term, effect: str, confidence: Confidence = Confidence.CERTAIN) -> Draft:
    site = cut.site or event.site
    how = _HOW.get(cut.op, "copies the numbers")
    message = f"`{wording.text(site)}` {how} and leaves the graph behind: {effect}"
    return Draft("ND112", site, message, ((event.site, "back-propagated here"),), confidence)


def _backward_leaves(program: Program) -> dict[int, Event]:
    """The values that are back-propagated, by their id."""
    return {id(leaf): event for event in program.of("backward") for leaf in event.tensors(event.subject)}


def _is_computed(value: Value) -> bool:
    """Whether a value is a loss, and not a tensor that was just made to be differentiated."""
    computed = any(term.op in ("loss", "forward") for term in graph.ancestors(value))
    return computed and type(value) is Term and value.act == LOSS


def _is_unknown(value: Value) -> bool:
    return type(value) is Term and value.op in ("call", "item", "attribute", "part", "+", "-", "*", "/", "mean", "sum")


def _made_leaves(program: Program) -> Iterator[Draft]:
    """`loss.requires_grad = True`: torch allows it for tensors without a graph only."""
    ends = _backward_leaves(program)
    for event in program.of("attribute"):
        flag = event.details["value"]
        if event.details["name"] != "requires_grad" or (type(flag) is Const and not flag.value):
            continue
        for leaf in event.options(event.subject):
            later = ends.get(id(leaf))
            name = wording.text(event.site)
            if later is None or flow(leaf).is_severed:  # where it is severed, the cause is told
                continue
            if not (_is_computed(leaf) or ("loss" in name.lower() and _is_unknown(leaf))):
                continue
            message = f"`{name} = True` is allowed only for a loss without a graph, whose backward reaches no parameter"
            yield Draft("ND112", event.site, message, ((later.site, "back-propagated here"),), Confidence.LIKELY)


def _wrapped(program: Program, told: set[int]) -> Iterator[Draft]:
    """`Variable(loss)`: since torch 0.4 the result is a new tensor without a graph."""
    ends = _backward_leaves(program)
    for event in program.calls("torch.autograd.Variable"):
        given = event.details["args"].get(0, "data")
        for leaf in event.options(given):
            later = ends.get(id(leaf))
            if later is not None and id(leaf) not in told and _is_computed(leaf):
                message = f"`{wording.text(event.site)}` is a new tensor without a graph: backward reaches no parameter"
                yield Draft("ND112", event.site, message, ((later.site, "back-propagated here"),))
