"""Gradients that nobody computes, and gradients that nobody wants: the graph off in training, on in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.states import EVAL
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.parameters import is_parameter, is_trainable, switches
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Instance, Lib, Site, State, Term, Value, is_false

# ND303


@rule("ND303")
def missing_no_grad(program: Program) -> Iterator[Draft]:
    training = {loop for event in program.of("backward") for loop in event.loops}
    switched = {id(event.frames[0]) for event in program.calls("torch.set_grad_enabled")}
    frozen = [module for module, value, _ in switches(program) if type(value) is Const and not value.value]
    differentiated = {loop for event in program.calls("torch.autograd.grad") for loop in event.loops[-1:]}
    old = {
        event.site.source
        for event in program.calls("torch.autograd.Variable")
        if "volatile" in event.details["args"].keywords
    }
    for event in program.of("forward"):
        loop = event.loops[-1] if event.loops else None
        if loop is None or loop in training | differentiated:
            continue
        if id(event.frames[0]) in switched or event.site.source in old or not _runs_over_batches(loop):
            continue
        evaluation = _evaluation_mode(event)
        if evaluation is not None and _records(program, event, frozen):
            yield _unused_graph(event, evaluation)


def _records(program: Program, event: Event, frozen: list[Value | None]) -> bool:
    """Whether a forward pass certainly records a graph, and no backward pass of the program follows it."""
    if not (type(event.grad) is Const and event.grad.value) or id(event.details["result"]) in program.backpropagated:
        return False
    if any(frame.function is not None and frame.function.decorators for frame in event.frames):
        return False
    if any(model is module for module in kinds.descendants(event.subject) for model in frozen):
        return False
    return type(event.subject) is Term or any(map(is_trainable, kinds.descendants(event.subject)))


def _evaluation_mode(event: Event) -> State | None:
    """The state of a model that is in evaluation mode, if it is so on every path."""
    states = event.options(event.details["mode"])
    found = [state for state in states if type(state) is State and state.name == EVAL]
    return found[0] if len(found) == len(states) else None


def _runs_over_batches(loop: Loop) -> bool:
    """Whether a loop runs over what a loader yields, not over steps that it counts."""
    if type(loop.node) is not cst.For:
        return False
    iterable = loop.iterable
    while type(iterable) is Term and iterable.op == "enumerate":
        iterable = iterable.inputs[0]
    if type(iterable) is Lib:
        return iterable.kind == "loader"
    return type(iterable) is Term and "loader" in kinds.name_of(iterable).lower()


def _unused_graph(event: Event, evaluation: State) -> Draft:
    evidence = [(evaluation.site, "the model is put in evaluation mode here")] if evaluation.site is not None else []
    message = f"`{wording.text(event.site)}` records a graph in evaluation that no backward pass uses"
    sure = event.has_known_caller and type(event.subject) in (Instance, Lib)
    owner = len(event.frames) > 2 or event.has_known_caller  # else another file may call the function under no_grad
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY if owner else Confidence.POSSIBLE
    return Draft("ND303", event.site, message, tuple(evidence), confidence)


# ND307


@rule("ND307")
def training_under_no_grad(program: Program) -> Iterator[Draft]:
    cut = [event for event in program.of("backward") if _has_no_graph(event)]
    yield from map(_loss_without_graph, cut)
    yield from _never_reached(program, cut)


def _has_no_graph(event: Event) -> bool:
    losses = event.tensors(event.subject)
    return bool(losses) and all(map(_is_made_without_graph, losses)) and not _in_autograd_function(event)


_MAKE_TRAINABLE = frozenset({"requires_grad_", "detach", "data", "item"})  # what cut the graph is told by other rules


def _is_made_without_graph(value: Value) -> bool:
    """Whether a tensor was computed from what a model gave, all of it with the graph switched off."""
    if type(value) is not Term or not is_false(value.grad) or value.node is None or value.op in _MAKE_TRAINABLE:
        return False
    terms = list(graph.ancestors(value, through_cuts=True))
    return any(term.op == "forward" for term in terms) and not any(term.op in _MAKE_TRAINABLE for term in terms)


def _in_autograd_function(event: Event) -> bool:
    owners = [frame.function.owner for frame in event.frames if frame.function is not None]
    return any(owner is not None and owner.roots & torch_api.AUTOGRAD_FUNCTIONS for owner in owners)


def _loss_without_graph(event: Event) -> Draft:
    loss = event.tensors(event.subject)[0]
    evidence = ((loss.site, "computed with the graph switched off"),)
    message = f"`{wording.text(event.site)}` has nothing to go back through: the loss was computed under no_grad"
    return Draft("ND307", event.site, message, evidence)


def _never_reached(program: Program, cut: list[Event]) -> Iterator[Draft]:
    """Models that an optimizer trains although each of their forward passes runs without a graph."""
    trained = {id(owner): event for event in program.of("optimizer") for owner in event.details["trained"] or ()}
    reached = {id(event.subject): event.subject for event in program.of("forward") if not is_false(event.grad)}
    off = [e for e in program.of("forward") if id(e.subject) in trained and id(e.subject) not in reached]
    if not off:
        return
    on = {id(module) for model in reached.values() for module in kinds.descendants(model)}
    passes = [event for event in program.of("backward") if event not in cut]
    used = {id(term.inputs[1]) for event in passes for term in _models_used(event.subject)}
    frozen = {id(module) for module, value, _ in switches(program) if type(value) is Const and not value.value}
    for event in off:
        parts = list(kinds.descendants(event.subject))
        left_alone = id(event.subject) in used and not any(id(part) in on | frozen for part in parts)
        if left_alone and any(map(is_trainable, parts)):
            yield _forward_without_graph(event, trained[id(event.subject)])


def _models_used(loss: Value) -> Iterator[Term]:
    return (term for term in graph.ancestors(loss, through_cuts=True) if term.op == "forward")


def _forward_without_graph(event: Event, optimizer: Event) -> Draft:
    evidence = ((optimizer.site, "this optimizer is meant to train it"),)
    message = f"`{wording.text(event.site)}` runs without a graph, so its parameters never get a gradient"
    return Draft("ND307", event.site, message, evidence, Confidence.LIKELY)


# ND215


@rule("ND215")
def manual_update_in_graph(program: Program) -> Iterator[Draft]:
    if not any(program.of("backward")):
        return
    for event in program.of("weight update"):
        weight, result = event.subject, event.details["result"]
        if type(event.site.node) is cst.AugAssign:
            if type(event.grad) is Const and event.grad.value and event.has_known_caller and _is_leaf(weight):
                yield _in_place(event)
        elif _is_kept(program, result):
            continue
        elif _rebinds_loop_variable(event):
            yield _without_effect(event)
        elif weight.node is result.node:
            yield _not_a_leaf(event)


def _is_leaf(value: Value) -> bool:
    """Whether a tensor is certainly a leaf that requires a gradient."""
    if is_parameter(value):
        return True
    args = (value.info or {}).get("args") if type(value) is Term else None
    flag = args.keywords.get("requires_grad") if args is not None else None
    return type(flag) is Const and flag.value is True


def _is_kept(program: Program, result: Term) -> bool:
    """Whether the new tensor is made a leaf again, keeps its gradient, or is stored elsewhere."""
    if any(event.subject is result for event in program.methods("requires_grad_", "retain_grad", "detach")):
        return True
    if any(result in (event.subject, event.details["value"]) for event in program.of("attribute")):
        return True
    makers = ("torch.autograd.Variable", "torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.tensor")
    taken = [*program.calls(*makers), *program.methods("copy_")]
    stored = any(event.subject is result for event in program.of("append"))
    return stored or any(result in event.details["args"].all for event in taken)


def _rebinds_loop_variable(event: Event) -> bool:
    """Whether the name of an element of the parameters is bound anew, which leaves the parameter as it was."""
    loop = event.loops[-1] if event.loops else None
    if loop is None or type(loop.node) is not cst.For:
        return False
    name = _target(event).value
    return any(type(part) is cst.Name and part.value == name for part in _bound_names(loop))


def _target(event: Event) -> Any:
    node: Any = event.site.node
    return node.targets[0].target


def _bound_names(loop: Loop) -> list[Any]:
    target: Any = loop.node
    target = target.target
    if type(target) is not cst.Tuple:
        return [target]
    nested = [element.value for element in target.elements]
    return [*nested, *(inner.value for part in nested if type(part) is cst.Tuple for inner in part.elements)]


def _without_effect(event: Event) -> Draft:
    name = _target(event).value
    message = f"this binds the name `{name}` anew and leaves the parameter as it was; nothing is trained"
    treatment = (
        f"Under `torch.no_grad()`, change it in place: `{name} -= ...`, or let an optimizer of torch.optim step."
    )
    return Draft("ND215", event.site, message, treatment=treatment)


def _not_a_leaf(event: Event) -> Draft:
    name = _target(event).value
    then = "does not require a gradient" if is_false(event.grad) else "is no leaf, so its `.grad` stays None"
    message = f"after this update `{name}` is a new tensor that {then}"
    treatment = f"Update it in place: `with torch.no_grad(): {name} -= ...`, then `{name}.grad = None`."
    return Draft("ND215", event.site, message, treatment=treatment)


def _in_place(event: Event) -> Draft:
    name = wording.text(Site(event.site.source, event.site.node.target))  # type: ignore[attr-defined]
    message = f"`{name}` is changed in place while the graph is recorded, which torch refuses for a leaf"
    treatment = f"Write `with torch.no_grad(): {name} -= ...`."
    return Draft("ND215", event.site, message, treatment=treatment)
