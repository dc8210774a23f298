"""Modes of models and graphs that live too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.states import EVAL, TRAIN
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules import cures, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import (
    LOSS,
    Choice,
    Const,
    Container,
    Instance,
    Lib,
    Site,
    State,
    Term,
    Value,
    is_false,
    leaves,
)

_EVALUATION = re.compile(r"val|test|eval|dev", re.IGNORECASE)
_DELIBERATE = re.compile(r"(^|_)mc(_|$)|mcdropout|bayes|uncertain|monte", re.IGNORECASE)


def _mode_names(event: Event, mode: Value) -> set[str]:
    return {leaf.name if type(leaf) is State else "?" for leaf in event.options(mode)}


@rule("ND301")
def missing_eval_mode(program: Program) -> Iterator[Draft]:
    training_loops = {loop for event in program.of("backward") for loop in event.loops}
    trained_on = {id(loop.iterable) for loop in training_loops if loop.iterable is not None}
    for event in program.of("forward"):
        if _mode_names(event, event.details["mode"]) != {TRAIN} or not graph.has_mode_layers(program, event.subject):
            continue
        loop = event.loops[-1] if event.loops else None
        if loop is None or loop in training_loops or id(loop.iterable) in trained_on or not _over_batches(event, loop):
            continue
        if _avoids_mode_layers(event):
            continue
        if is_false(event.grad):
            yield _evaluated(event, Confidence.CERTAIN)
        elif _looks_like_evaluation(program, event, loop):
            yield _evaluated(event, Confidence.LIKELY)


def _avoids_mode_layers(event: Event) -> bool:
    """Whether this very forward went around all layers that depend on the mode, as under `if is_training:`."""
    terms = list(graph.ancestors(event.details["result"], through_cuts=True))
    if type(event.subject) is not Instance or not 1 < len(terms) < graph.MAX_WALK:
        return False
    return not any(_may_act_by_mode(term) for term in terms)


def _may_act_by_mode(term: Term) -> bool:
    if term.op in torch_api.MODE_OPS:
        return True
    layer = (term.info or {}).get("layer")
    if layer is not None:
        return graph.acts_by_mode(layer)
    return kinds.is_model(kinds.callee(term))


def _over_batches(event: Event, loop: Loop) -> bool:
    """Whether a loop may run over the batches of a loader, not over steps that it counts, as sampling does."""
    if loop.iterable is None or (type(loop.iterable) is Term and loop.iterable.op == "range"):
        function = event.frames[-1].function
        return function is not None and bool(_EVALUATION.search(function.name))
    return not any(map(_holds_layers, (loop.iterable, *getattr(loop.iterable, "inputs", ()))))


def _holds_layers(iterable: Value) -> bool:
    """Whether a loop over it, or over its enumeration, goes through the layers of a model."""
    return type(iterable) is Lib and iterable.kind == "container"


def _looks_like_evaluation(program: Program, event: Event, loop: Loop) -> bool:
    """A loop over a validation or test loader whose outputs are never back-propagated."""
    if type(loop.node) is not cst.For or not _EVALUATION.search(wording.text(Site(event.site.source, loop.node.iter))):
        return False
    return id(event.details["result"]) not in program.backpropagated


def _evaluated(event: Event, confidence: Confidence) -> Draft:
    layer = next((m for m in kinds.descendants(event.subject) if graph.acts_by_mode(m)), None)
    evidence = ((layer.site, f"{layer.name} behaves differently in train mode"),) if type(layer) is Lib else ()
    message = f"`{wording.text(event.site)}` evaluates the model in train mode"
    return Draft("ND301", event.site, message, evidence, confidence, repair=cures.in_mode(event, "eval", inside=False))


@rule("ND302")
def train_mode_not_restored(program: Program) -> Iterator[Draft]:
    seen: dict[int, set[str]] = {}  # forward call -> the modes it ran in before
    for event in program.of("forward", "backward"):
        if event.kind == "forward":
            seen.setdefault(id(event.site.node), set()).update(_mode_names(event, event.details["mode"]))
            continue
        for output in event.details["modes"]:
            states = [leaf for leaf in event.options(output.inputs[2]) if type(leaf) is State]
            evals = [s for s in states if s.name == EVAL and s.site is not None]
            before = seen.get(id(output.node), set()) - {EVAL}
            if evals and before and graph.has_mode_layers(program, output.inputs[1]) is not False:
                sure = (
                    len(evals) == len(states) and TRAIN in before and graph.has_mode_layers(program, output.inputs[1])
                )
                if len(evals) == len(states) or _in_loop(event):
                    yield _left_in_eval(program, evals[0], output, Confidence.CERTAIN if sure else Confidence.LIKELY)


def _in_loop(event: Event) -> bool:
    return bool(event.loops)


def _left_in_eval(program: Program, state: State, output: Term, confidence: Confidence) -> Draft:
    forward = output.site
    assert state.site is not None and forward is not None
    evidence = ((forward, "the next training forward runs in eval mode"),)
    message = f"`{wording.text(state.site)}` is never undone; training goes on in eval mode"
    repair = cures.restored(program, state, output)
    return Draft("ND302", state.site, message, evidence, confidence, repair=repair)


@rule("ND304")
def graph_retained(program: Program) -> Iterator[Draft]:
    at: dict[int, list[Event]] = {}  # by the id of their node
    events = list(program.of("accumulate", "append"))
    for event in events:
        at.setdefault(id(event.site.node), []).append(event)
    # Where the innermost loop also runs the model, each iteration has a graph of its own.
    forward_loops = {id(loop) for forward in program.of("forward") for loop in forward.loops}
    for event in events:
        if not event.loops or id(event.loops[-1]) not in forward_loops:
            continue
        same = at[id(event.site.node)]
        kept = _accumulated(program, event, same) if event.kind == "accumulate" else _collected(program, event, same)
        if kept is None:
            continue
        operand = _operand(event.site)
        message = f"`{wording.text(operand)}` still carries its graph and is kept from one iteration to the next"
        repair = cures.without_graph(program, operand, same)
        yield Draft("ND304", event.site, message, wording.made_at(kept), Confidence.CERTAIN, repair=repair)


def _operand(site: Site) -> Site:
    node: Any = site.node
    if type(node) is cst.Call:
        return wording.argument_site(site)
    return Site(site.source, getattr(node, "value", node))


def _accumulated(program: Program, event: Event, same: list[Event]) -> Term | None:
    """The tensor with a graph that is added to a sum which outlives the iteration."""
    before = event.options(event.details["before"])
    again = any(type(leaf) is Term and leaf.node is event.site.node for leaf in before)
    totals = [leaf for e in same if e.kind == "accumulate" for leaf in leaves(e.details["result"])]
    used = any(id(total) in program.backpropagated for total in totals)
    begun_anew = not all(type(leaf) is Term for leaf in before)
    if not again or used or (begun_anew and not _outlives_step(program, event)):
        return None
    return _with_graph(program, event, event.subject)


def _outlives_step(program: Program, event: Event) -> bool:
    """Whether each iteration takes a step, so that a sum begun anew every so often is one of the log."""
    return any(step.loops == event.loops and step.assumed == event.assumed for step in program.of("step"))


def _with_graph(program: Program, event: Event, value: Value) -> Term | None:
    if is_false(event.grad):
        return None
    found: Term | None = None
    for leaf in event.tensors(value):
        if type(leaf) is not Term or leaf.act != LOSS:
            return None
        if not any(_is_trained(program, term) for term in graph.ancestors(leaf)):
            return None
        found = leaf
    return found


def _is_trained(program: Program, term: Term) -> bool:
    """Whether a term is an output, or a tensor of a graph that is back-propagated; numbers are in it as operands."""
    return term.op == "forward" or (id(term) in program.backpropagated and term.act is not None)


def _collected(program: Program, event: Event, same: list[Event]) -> Term | None:
    """The tensor with a graph that is put into a list which outlives the iteration."""
    container = event.details["container"]
    again = [e for e in same if e.kind == "append" and e.details["container"] is container]
    if type(container) is not Container or again[0] is event or id(container) in program.backpropagated:
        return None
    return _with_graph(program, event, event.subject)


@rule("ND306")
def functional_dropout_always_on(program: Program) -> Iterator[Draft]:
    for event in program.of("functional dropout"):
        rate = event.details["rate"]
        if event.details["switched"] or _is_guarded(event, rate) or not _in_module(event):
            continue
        message = f"`{wording.text(event.site)}` drops units in evaluation too"
        yield Draft("ND306", event.site, message, repair=cures.switched(event))
    for event in program.of("apply"):
        if (
            event.details["operation"] == "dropout"
            and event.subject.attrs.get("$frame") is event.frames[-1]
            and _in_module(event)
        ):
            message = "a new Dropout is made at each call, and a new module is always in train mode"
            yield Draft("ND306", event.site, message)


def _in_module(event: Event) -> bool:
    """Whether a method of a module runs this that is not meant to be random in evaluation."""
    for frame in event.frames:
        receiver = frame.receiver
        if frame.function is None or type(receiver) is not Instance or not receiver.cls.is_module:
            continue
        if _DELIBERATE.search(frame.function.name) or _DELIBERATE.search(receiver.cls.name):
            return False
        if frame.function.name != "__init__":
            return True
    return False


def _is_guarded(event: Event, rate: Value | None) -> bool:
    """Whether a flag such as `self.training` decides if this drops anything."""
    if type(rate) is Const and rate.value == 0:
        return True
    if type(rate) is Choice and rate.guard.op == "training":
        return True
    return any(
        term.op == "training" or "train" in kinds.name_of(term).lower()
        for term, truth in event.assumed.items()
        if truth
    )
