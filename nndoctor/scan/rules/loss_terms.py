"""What a loss is made of: which argument is the prediction, and which terms are added up."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.scan import torch_api
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.gradient_flow import flow
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Site, Term, Value

_ASYMMETRIC = (torch_api.LOGITS, torch_api.BINARY_LOGITS, torch_api.LOG_PROBABILITIES, torch_api.PROBABILITIES)


@rule("ND115")
def loss_arguments_swapped(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["expects"] not in _ASYMMETRIC:
            continue
        given, target = event.tensors(event.subject), event.tensors(event.details["target"])
        if given and all(_is_data(option) for option in given) and any(flow(option).carries for option in target):
            yield _swapped(event)


def _is_data(value: Value) -> bool:
    """Whether a tensor was computed without a model."""
    found = flow(value)
    return type(value) is Term and found.carries is False and not found.cuts


def _swapped(event: Event) -> Draft:
    site, name = wording.argument_site(event.site), event.details["name"]
    made = next((t for t in event.tensors(event.details["target"]) if type(t) is Term), None)
    evidence = wording.made_at(made) if made is not None else ()
    message = f"`{wording.text(site)}` is data and stands where {name} expects the model's output"
    return Draft("ND115", site, message, tuple((place, "the output, passed as the target") for place, _ in evidence))


# ND117


@rule("ND117")
def loss_terms_unscaled(program: Program) -> Iterator[Draft]:
    for event in program.of("backward"):
        for leaf in event.tensors(event.subject):
            terms = {_family(term.info["name"]): term for term in _summands(leaf) if term.info}
            if len(terms) > 1 and type(leaf) is Term:
                names = " and ".join(sorted(str(term.info["name"]) for term in terms.values() if term.info))
                site = _sum_site(leaf) or event.site
                evidence = tuple(place for term in terms.values() for place in wording.made_at(term))
                yield Draft("ND117", site, f"`{wording.text(site)}` adds {names} with equal weight", evidence)


# They are all negative log-likelihoods, of one scale: near the logarithm of the number of classes at the start.
_LIKELIHOODS = frozenset("crossentropy nll bce bcewithlogits binarycrossentropy binarycrossentropywithlogits".split())


def _family(name: str) -> str:
    kind = name.lower().replace("_", "").replace("loss", "").removesuffix("2d")
    return "likelihood" if kind in _LIKELIHOODS else kind


_JOINING = frozenset({"+", "returned", "forward", "scaled", "/", "sum of"})


def _summands(value: Value) -> Iterator[Term]:
    """The losses of torch that a loss is the plain sum of."""
    stack, seen = [value], set()
    while stack:
        term = stack.pop()
        if type(term) is not Term or id(term) in seen:
            continue
        seen.add(id(term))
        if term.op == "loss" and term.info and "name" in term.info:
            yield term
        elif term.op in _JOINING:
            stack.extend(term.inputs[:1] if term.op == "/" else term.inputs)


def _sum_site(term: Term) -> Site | None:
    """Where the terms are added up."""
    while term.op in _JOINING and term.op != "+" and type(term.inputs[0]) is Term:
        term = term.inputs[0]
    return term.site if term.op == "+" else None
