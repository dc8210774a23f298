"""Backward and step belong together: one without the other, and graphs that are kept for another backward."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.interpreter.states import CLEAN
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.steps import optimizer_name, states, trust
from nndoctor.scan.values import Const, Instance, Lib, Term, Value


@rule("ND204")
def step_without_backward(program: Program) -> Iterator[Draft]:
    by_optimizer: dict[int, list[Event]] = {}
    for event in program.of("step"):
        by_optimizer.setdefault(id(event.subject), []).append(event)
    for steps in by_optimizer.values():
        first = next((event for event in steps if event.loops), None)
        if first is None or not all(map(_finds_nothing, steps)) or _may_have_backward(program, first):
            continue
        loss = next((e for e in program.of("loss") if e.loops == first.loops and _same_run(e, first)), None)
        if loss is not None and not _is_handed(program, loss.details["result"]):
            name = optimizer_name(first)
            message = f"`{name}.step()` finds no gradients: nothing back-propagates the loss"
            treatment = f"Call `backward()` on the loss before `{name}.step()`."
            evidence = ((loss.site, "the loss, of which nothing is made"),)
            yield Draft("ND204", first.site, message, evidence, trust(first), treatment=treatment)


def _finds_nothing(step: Event) -> bool:
    found = states(step, step.details["grads"])
    known = len(found) == len(step.options(step.details["grads"]))
    return known and step.details["closure"] is None and all(s.name in ("initial", CLEAN) for s in found)


def _may_have_backward(program: Program, step: Event) -> bool:
    """Whether gradients may come from somewhere: a backward for the optimizer, an engine, `torch.autograd.grad`."""
    for event in program.of("backward"):
        if type(step.subject) is not Lib or any(fed is step.subject for fed, _ in event.details["optimizers"]):
            return True
    if program.engines or next(program.calls("torch.autograd.grad"), None) is not None:
        return True
    receivers = [frame.receiver for frame in step.frames if type(frame.receiver) is Instance]
    return any("ightning" in root for receiver in receivers for root in receiver.cls.roots)


def _same_run(event: Event, other: Event) -> bool:
    return event.frames[0] is other.frames[0]


def _is_handed(program: Program, loss: Value) -> bool:
    """Whether code that cannot be followed was given the loss, or something computed from it."""
    return any(term is loss for value in program.handed.values() for term in graph.ancestors(value))


@rule("ND204")
def backward_without_step(program: Program) -> Iterator[Draft]:
    steps = list(program.of("step"))
    if program.engines or any(type(step.subject) is not Lib for step in steps) or _reads_gradients(program):
        return
    stepped = {id(step.subject) for step in steps}
    for event in program.of("backward"):
        for optimizer, before in event.details["optimizers"]:
            known = type(optimizer) is Lib and id(optimizer) not in stepped and id(optimizer) not in program.handed
            if not known or not event.loops or any(s.name == "unknown" for s in states(event, before)):
                continue
            reset = next((e for e in program.of("reset") if e.subject is optimizer and e.loops == event.loops), None)
            if reset is not None:
                stepped.add(id(optimizer))  # told once
                message = f"the gradients are computed and cleared, but no step of {optimizer.name} uses them"
                treatment = "Call the optimizer's `step()` after `backward()`."
                evidence = ((reset.site, "cleared here, in the same loop"),)
                yield Draft("ND204", event.site, message, evidence, Confidence.CERTAIN, treatment=treatment)


def _reads_gradients(program: Program) -> bool:
    """Whether some code reads `p.grad`, perhaps to update the weights by itself."""
    return any(term.op == "attribute" and term.inputs[-1] == "grad" for term in program.terms)


@rule("ND220")
def retained_graph(program: Program) -> Iterator[Draft]:
    passes = list(program.of("backward"))
    for event in passes:
        if not event.loops or not _retains(event):
            continue
        earlier = [e for e in passes if e.order < event.order and e.site.node is event.site.node]
        grown = next((e for e in earlier if e.loops == event.loops and _grows(e.subject, event.subject)), None)
        if grown is not None:
            message = "the graph of earlier iterations is kept and back-propagated again: it grows with each iteration"
            yield Draft("ND220", event.site, message, (), Confidence.LIKELY)
        elif _is_alone(program, event):
            message = "nothing back-propagates through this graph again, so it is kept for nothing"
            treatment = "Leave `retain_graph=True` out."
            yield Draft("ND220", event.site, message, (), Confidence.POSSIBLE, treatment=treatment)


def _retains(event: Event) -> bool:
    args = event.details["args"]
    is_function = args.get(0, "tensors") is event.subject  # torch.autograd.backward(tensors, gradients, retain_graph)
    retain = args.get(2 if is_function else 1, "retain_graph")
    if retain is None:
        retain = args.keywords.get("retain_variables")
    return type(retain) is Const and retain.value is True and "create_graph" not in args.keywords


def _grows(first: Value, second: Value) -> bool:
    """Whether an operation that one iteration does once stands twice in the graph of the next."""
    once, later = _by_place(first), _by_place(second)
    return any(
        len(terms) > 1 and len(once.get(key, ())) == 1 and any(map(_has_weights, terms)) for key, terms in later.items()
    )


def _by_place(loss: Value) -> dict[tuple[str, int], list[Term]]:
    """The operations of a graph, by their place in the code."""
    found: dict[tuple[str, int], list[Term]] = {}
    for term in graph.ancestors(loss):
        if term.node is not None and term.op not in _UNSURE:
            operation = "rnn" if term.op == "hidden state" else term.op  # two results of one call
            found.setdefault((operation, id(term.node)), []).append(term)
    return found


_UNSURE = frozenset({"call", "joined", "place"})


def _has_weights(term: Term) -> bool:
    return any(part.op in _WEIGHTED for part in graph.ancestors(term))


_WEIGHTED = frozenset({"forward", "rnn", "hidden state", "linear", "conv"})


def _is_alone(program: Program, event: Event) -> bool:
    """Whether the graph is made anew in each iteration, and no other backward pass is in the loop."""
    inner = event.loops[-1]
    if any(inner in e.loops and e.site.node is not event.site.node for e in program.of("backward")):
        return False
    made = {id(e.details["result"]) for e in program.of("forward") if inner in e.loops}
    terms = list(graph.ancestors(event.subject))
    outputs = [term for term in terms if term.op == "forward"]
    return bool(outputs) and all(id(term) in made for term in outputs) and not any(t.op in _UNSURE for t in terms)
