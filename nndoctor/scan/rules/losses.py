"""What is fed to a loss, and what becomes of the loss before it is back-propagated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nndoctor.findings import Confidence, Severity
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import cures, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import (
    BOUNDED,
    LOG,
    LOG_SOFTMAX,
    LOSS,
    RAW,
    RELU,
    SIGMOID,
    SOFTMAX,
    Const,
    Instance,
    Term,
    Value,
    is_none,
)


def shown(event: Event, *acts: str) -> tuple[Term, Confidence] | None:
    """The loss's input if it shows one of these activations, as `showing` says."""
    return showing(event, event.subject, *acts)


def showing(event: Event, value: Value, *acts: str) -> tuple[Term, Confidence] | None:
    """A tensor if it shows one of these activations on every path, or on the paths of one of several models."""
    options = [o for o in event.alternatives(value) if not is_none(o)]
    hits = [o for o in options if type(o) is Term and o.act in acts]
    if not hits:
        return None
    if len(hits) == len(options):
        return hits[0], Confidence.CERTAIN
    others = [o for o in options if o not in hits]
    optional = any(type(o) is not Term or _derives(hit, o) for hit in hits for o in others)
    return None if optional or not all(_is_output(o) for o in options) else (hits[0], Confidence.LIKELY)


def _derives(later: Term, earlier: Value) -> bool:
    """Whether one is computed from the other, or both from the same model: then a flag chooses, not a model."""
    if any(term is earlier for term in graph.ancestors(later, through_cuts=True)):
        return True
    models = [
        {id(t.inputs[1]) for t in graph.ancestors(v, through_cuts=True) if t.op == "forward"} for v in (later, earlier)
    ]
    return bool(models[0] & models[1])


def _is_output(value: Value) -> bool:
    return type(value) is Term and any(term.op == "forward" for term in graph.ancestors(value, through_cuts=True))


@rule("ND101")
def softmax_into_cross_entropy(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        found = shown(event, SOFTMAX) if event.details["expects"] == torch_api.LOGITS else None
        if found is not None:
            draft = fed(event, "ND101", *found, f"{event.details['name']} applies log-softmax again")
            yield replace(draft, repair=cures.logits(program, wording.origin(found[0])))


@rule("ND103")
def sigmoid_into_bce_with_logits(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        found = shown(event, SIGMOID, SOFTMAX) if event.details["expects"] == torch_api.BINARY_LOGITS else None
        if found is not None:
            draft = fed(event, "ND103", *found, f"{event.details['name']} applies the sigmoid again")
            yield replace(draft, repair=cures.logits(program, wording.origin(found[0])))


@rule("ND105")
def nll_without_log(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["expects"] != torch_api.LOG_PROBABILITIES or not _is_objective(program, event):
            continue
        found = shown(event, SOFTMAX, RAW, RELU, SIGMOID)
        if found is not None:
            yield fed(event, "ND105", *found, f"{event.details['name']} expects log-probabilities")
        elif (logged := shown(event, LOG)) is not None and _log_of_softmax(logged[0]):
            draft = fed(event, "ND105", *logged, "log_softmax computes it in one stable step")
            yield replace(draft, severity=Severity.WARNING)


def _is_objective(program: Program, event: Event) -> bool:
    """Whether the loss is more than a way to pick the targets' values, as a focal factor does."""
    if event.details["whole"]:
        return True
    result = event.details["result"]
    return any(
        term is result for e in program.of("backward") for leaf in e.tensors(e.subject) for term in _same_loss(leaf)
    )


def _log_of_softmax(term: Term) -> bool:
    origin = wording.origin(term)
    source = origin.inputs[0] if origin.inputs else None
    return origin.op == "log" and type(source) is Term and source.act == SOFTMAX and wording.origin(source) is source


@rule("ND107")
def activation_on_logits(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        expects = event.details["expects"]
        if expects == torch_api.LOG_PROBABILITIES or shown(event, LOG_SOFTMAX) is not None:
            found = _under_log_softmax(event)
        elif expects in (torch_api.LOGITS, torch_api.BINARY_LOGITS):
            found = shown(event, RELU, BOUNDED, *((SIGMOID,) if expects == torch_api.LOGITS else ()))
        else:
            continue
        if found is None or not _on_linear(found[0]):
            continue
        draft = fed(event, "ND107", *found, f"{event.details['name']} expects logits of any size and sign")
        severity = Severity.ERROR if found[0].act == RELU else Severity.WARNING
        yield replace(draft, severity=severity)


def _under_log_softmax(event: Event) -> tuple[Term, Confidence] | None:
    """What a log-softmax was applied to."""
    found = shown(event, LOG_SOFTMAX)
    source = wording.origin(found[0]).inputs if found is not None else ()
    if found is None or not source or type(source[0]) is not Term or source[0].act not in (RELU, BOUNDED):
        return None
    return source[0], found[1]


def _on_linear(term: Term) -> bool:
    """Whether the activation was applied to what a linear layer or convolution gave."""
    origin = wording.origin(term)
    source = origin.inputs[0] if origin.inputs else None
    return type(source) is Term and source.act == RAW


def fed(event: Event, code: str, term: Term, confidence: Confidence, consequence: str) -> Draft:
    """The finding that a loss is given a tensor that it is not made for."""
    site = wording.argument_site(event.site)
    name = wording.text(site)
    made = wording.origin(term)
    what = wording.describe(made)
    message = f"`{name}` is {what} ({wording.place(made)}); {consequence}"
    return Draft(code, site, message, wording.path(term), confidence)


# ND113


@rule("ND113")
def loss_clipped(program: Program) -> Iterator[Draft]:
    for event in program.of("backward", "training step"):
        for leaf in event.tensors(event.subject):
            for term in _same_loss(leaf):
                if _bounds_above(term) and _is_loss(term.inputs[0]):
                    yield _clipped(event, term)
    for event in program.of("clip"):
        if _is_loss(event.subject):
            name = wording.text(wording.argument_site(event.site))
            yield Draft("ND113", event.site, f"the gradient clipping is given the loss `{name}`, not the parameters")


def _same_loss(value: Value) -> Iterator[Term]:
    """A loss and what it is a sum, mean or multiple of."""
    stack, seen = [value], set()
    while stack:
        term = stack.pop()
        if type(term) is Term and id(term) not in seen:
            seen.add(id(term))
            yield term
            if term.op in _SUMS:
                stack.extend(term.inputs)


_SUMS = frozenset({"+", "-", "/", "*", "mean", "sum", "scaled", "returned", "forward", "sum of", "clamp", "minimum"})


def _clipped(event: Event, term: Term) -> Draft:
    site = term.site
    assert site is not None
    evidence = ((event.site, "back-propagated here"),)
    message = f"`{wording.text(site)}` bounds the loss from above; where it is reached the gradient is zero"
    return Draft("ND113", site, message, evidence)


def _bounds_above(term: Term) -> bool:
    if term.source is None or term.info is None or term.op not in ("clamp", "minimum", "min"):
        return False
    args = term.info["args"]
    bound = args.get(2, "max") if term.op == "clamp" else args.get(1, "other")
    if bound is None or (type(bound) is Const and bound.value in (None, math.inf)):
        return False
    return (
        term.op == "clamp" or type(bound) is Const or (type(bound) is Term and bound.op in ("tensor", "full", "ones"))
    )


def _is_loss(value: Any) -> bool:
    if type(value) is not Term:
        return False
    if value.act == LOSS:
        return True
    if value.op == "forward" and type(value.inputs[1]) is Instance:
        name = value.inputs[1].cls.name.lower()
    else:
        name = kinds.name_of(value.inputs[0] if value.op in ("call", "forward") and value.inputs else None).lower()
    return name.endswith("loss") or name in ("criterion", "loss_fn", "loss_func", "loss_function", "objective")
