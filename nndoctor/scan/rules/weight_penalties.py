"""Penalties on the weights that a script adds to its loss by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Lib, Site, Term, Value

DECAYING = {"AdamW": 0.01}  # torch's default; the other optimizers have none


@rule("ND116")
def regularisation_twice(program: Program) -> Iterator[Draft]:
    for event in program.of("backward"):
        penalty = next(_penalties(event.subject), None)
        if penalty is None:
            continue
        for optimizer, _ in event.details["optimizers"]:
            decay = _weight_decay(optimizer)
            if decay and _model_of(penalty) in _models_of(optimizer):
                yield _twice(event, penalty, optimizer, decay)
    yield from _over_another_name(program)
    yield from _never_added(program)


def _twice(event: Event, penalty: Term, optimizer: Lib, decay: float) -> Draft:
    made = optimizer.site
    site = penalty.site or event.site
    message = f"`{wording.text(site)}` is an L2 penalty, and {optimizer.name} decays the same weights by {decay:g}"
    return Draft("ND116", site, message, ((made, f"weight decay {decay:g} here"), (event.site, "back-propagated here")))


def _weight_decay(optimizer: Value) -> float:
    """The weight decay of an optimizer where it is a known number, else 0."""
    if type(optimizer) is not Lib or "weight_decay" not in optimizer.args:
        return DECAYING.get(optimizer.name, 0.0) if type(optimizer) is Lib else 0.0
    given = optimizer.args["weight_decay"]
    return float(given.value) if type(given) is Const and isinstance(given.value, int | float) else 0.0


def _penalties(loss: Value) -> Iterator[Term]:
    """The squares and L2 norms of a model's parameters that a loss holds."""
    return (term for term in graph.ancestors(loss) if _squared(term) is not None)


def _squared(term: Term) -> Term | None:
    """The parameter of a model, if this is its square or L2 norm."""
    if term.op == "*" and len(term.inputs) == 2 and term.inputs[0] is not term.inputs[1]:
        return None
    if term.op not in ("*", "**", "vector_norm") or not _is_two(term):
        return None
    operand: Value = term.inputs[0]
    while type(operand) is Term and operand.op in _SAME_SQUARE:
        operand = operand.inputs[0]
    return operand if type(operand) is Term and _is_parameter(operand) else None


_SAME_SQUARE = frozenset({"view", "reshape", "flatten", "data", "float", "abs", "part", "item"})


def _is_parameter(term: Term) -> bool:
    source = term.inputs[0] if term.op == "element" else None
    return type(source) is Term and source.op == "parameters"


def _is_two(term: Term) -> bool:
    """Whether an exponent, or the order of a norm, is 2 or left out."""
    order: Value = None
    if term.op == "vector_norm":
        order = term.info["args"].get(1, "p") if term.info else None
    elif term.op == "**":
        order = term.inputs[1] if len(term.inputs) > 1 else None
    return order is None or (type(order) is Const and order.value in (2, "fro"))


def _model_of(penalty: Term) -> int | None:
    parameter = _squared(penalty)
    source: Value = parameter.inputs[0] if parameter is not None else None
    return id(source.inputs[0]) if type(source) is Term else None


def _models_of(optimizer: Lib) -> set[int]:
    """The ids of the modules whose parameters an optimizer was given."""
    given = optimizer.args.get("params")
    return {id(t.inputs[0]) for t in graph.ancestors(given, through_cuts=True) if t.op == "parameters"}


# A loop over the parameters that adds up something else


def _sums_over_parameters(program: Program) -> Iterator[tuple[Event, Term]]:
    for event in program.of("accumulate"):
        parameters = event.loops[-1].iterable if event.loops and not event.loops[-1].unrolled else None
        if type(parameters) is Term and parameters.op == "parameters":
            yield event, parameters


def _over_another_name(program: Program) -> Iterator[Draft]:
    for event, parameters in _sums_over_parameters(program):
        terms = list(graph.ancestors(event.subject, through_cuts=True))
        norm = next((term for term in terms if term.op == "vector_norm"), None)
        if norm is None or any(_is_parameter(term) and term.inputs[0] is parameters for term in terms):
            continue
        site = norm.site or event.site
        evidence = ((Site(event.site.source, event.loops[-1].node), "for each of the parameters"),)
        message = f"`{wording.text(site)}` is the same for each parameter: it does not use the loop's variable"
        treatment = "Take the norm of the loop's variable, or give the optimizer a `weight_decay` instead of the loop."
        yield Draft("ND116", site, message, evidence, treatment=treatment)


# A penalty that is computed and forgotten

_PENALTY_NAME = re.compile(r"\w*(reg|l1|l2|penalty|decay)\w* *(\+?=|\+)", re.IGNORECASE)


def _never_added(program: Program) -> Iterator[Draft]:
    sums: dict[int, list[Event]] = {}
    for event, _ in _sums_over_parameters(program):
        if any(_squared(term) is not None for term in graph.ancestors(event.subject)):
            sums.setdefault(id(event.site.node), []).append(event)
    for events in sums.values():
        event = events[-1]
        later = next((b for b in program.of("backward") if _goes_with(event, b)), None)
        if later is None or any(id(e.details["result"]) in program.backpropagated for e in events):
            continue
        text = wording.text(event.site)
        if _PENALTY_NAME.match(text):
            message = f"`{text}` is never added to the loss"
            evidence = ((later.site, "this loss is back-propagated without it"),)
            treatment = "Add the penalty to the loss before `backward()`, or delete it and set `weight_decay`."
            yield Draft("ND116", event.site, message, evidence, Confidence.LIKELY, treatment=treatment)


def _goes_with(penalty: Event, backward: Event) -> bool:
    """Whether a backward pass follows in the same function and iteration."""
    same = penalty.frames[-1] is backward.frames[-1] and penalty.loops[:-1] == backward.loops
    return same and penalty.order < backward.order
