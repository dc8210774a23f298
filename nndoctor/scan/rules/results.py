"""Results that get lost: a forward that returns nothing, and statements that compute something for nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.parameters import is_parameter
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Const, Function, Instance, Lib, Method, Site, Term, Value, leaves

# Methods that are called for what they change.
_EFFECTS = frozenset(
    """zero_grad step backward eval train cuda cpu half float double bfloat16 requires_grad_ update unscale_
    reset_parameters synchronize""".split()
)
_EFFECTS_OF_ANYTHING = frozenset({"zero_grad", "backward"})  # no object has a property of that name
_EFFECTS_OF_LIBRARIES = frozenset({"torch.cuda.empty_cache", "torch.cuda.synchronize", "gc.collect"})
# Functions that compute only to see how long it takes, or whether it works.
_ON_TRIAL = re.compile(r"test|bench|warm|time|timing|profile|latency|speed|perf", re.IGNORECASE)
_EXPORTED_NOTEBOOK = re.compile(r"^# (In\[|%%)", re.MULTILINE)


@rule("ND420")
def result_dropped(program: Program) -> Iterator[Draft]:
    functions = {id(event.site.node) for event in program.of("call")}
    for event in program.of("dropped"):
        site = event.site
        if type(site.node) is cst.Attribute:
            if _is_uncalled_method(event):
                message = f"`{wording.text(site)}` names a method and does not call it"
                yield Draft("ND420", site, message, treatment=f"Call it: `{wording.text(site)}()`.")
        elif not _writes_in_place(event.subject) and not _on_trial(event) and not _is_shown(event):
            yield from _dropped_tensor(program, event, id(site.node) in functions)


def _is_uncalled_method(event: Event) -> bool:
    value, name = event.subject, event.details["name"]
    if type(value) is Method:
        return name in _EFFECTS and type(value.receiver) in (Lib, Instance)
    if type(value) is Function:
        return type(value.receiver) is Instance and not value.decorators and not _is_shown(event)
    if type(value) is Api:
        return value.name in _EFFECTS_OF_LIBRARIES
    return name in _EFFECTS_OF_ANYTHING


def _dropped_tensor(program: Program, event: Event, of_function: bool) -> Iterator[Draft]:
    """A finding if what is computed is certainly a tensor, and not an object that `.to(device)` changes."""
    result, node = event.subject, event.site.node
    receiver = node.func.value if type(node) is cst.Call and type(node.func) is cst.Attribute else None
    if (result.info or {}).get("layer") is None and not of_function:
        if receiver is None or not _is_tensor(program, result.inputs[0]):
            return
        name = wording.text(Site(event.site.source, receiver))
        whole = f"`{wording.text(event.site)}`"
        message = f"{whole} leaves `{name}` as it is, and nobody takes the result"
        treatment = f"Write `{name} = {wording.text(event.site)}`." if type(receiver) is cst.Name else None
        yield Draft("ND420", event.site, message, treatment=treatment)
        return
    yield Draft("ND420", event.site, f"nobody takes the result of `{wording.text(event.site)}`")


def _is_tensor(program: Program, value: Value) -> bool:
    """Whether it is known to be a tensor: by what made it, or since a layer or a loss took it."""
    if type(value) is not Term:
        return False
    if value.act is not None or value.dtype is not None or value.shape is not None:
        return True
    if value.op == "data" or (value.op == "attribute" and value.inputs[-1] == "grad"):
        return is_parameter(value.inputs[0])
    return any(consumer.op == "loss" or "layer" in (consumer.info or {}) for consumer in program.consumers(value))


def _writes_in_place(result: Term) -> bool:
    layer, call = (result.info or {}).get("layer"), result.node
    assert type(call) is cst.Call
    if any(arg.star or (arg.keyword is not None and arg.keyword.value in ("out", "inplace")) for arg in call.args):
        return True
    if type(layer) is Lib and "inplace" in layer.args:
        return True
    name = call.func.attr if type(call.func) is cst.Attribute else call.func
    return type(name) is cst.Name and name.value.endswith("_")


def _on_trial(event: Event) -> bool:
    names = [frame.function.name for frame in event.frames if frame.function is not None]
    return any(_ON_TRIAL.search(name) for name in names)


def _is_shown(event: Event) -> bool:
    """Whether it may be the last line of a notebook's cell, whose value is displayed."""
    if event.frames[-1].function is not None or event.loops:
        return False
    source = event.site.source
    return source.location(event.site.node).cell is not None or bool(_EXPORTED_NOTEBOOK.search(source.text))


@rule("ND419")
def forward_without_return(program: Program) -> Iterator[Draft]:
    for event in program.of("output"):
        if not event.details["falls_off"]:
            continue
        name = event.subject.cls.name
        if event.details["returns"]:
            test = _deciding_test(event)
            if test is not None:
                message = f"{name}.forward returns nothing {test}"
                yield Draft("ND419", event.site, message, confidence=Confidence.LIKELY)
            continue
        lost = _lost(program, event)
        if lost is not None:
            variable, term = lost
            message = f"{name}.forward computes `{variable}` and returns nothing"
            yield Draft(
                "ND419", event.site, message, wording.made_at(term), treatment=f"End it with `return {variable}`."
            )


def _deciding_test(event: Event) -> str | None:
    """In words, the only test that keeps the forward from its `return`, if it is one that both ways are meant for."""
    known = event.frames[-1].assumed
    open_tests = [(term, truth) for term, truth in list(event.assumed.items())[known:] if term.op != "not"]
    if len(open_tests) != 1:
        return None
    term, truth = open_tests[0]
    if term.op == "training":
        return "in train mode" if truth else "in eval mode"
    if term.op == "Is" and any(type(side) is Const and side.value is None for side in term.inputs):
        names = [kinds.name_of(side) for side in term.inputs if type(side) is Term and side.op == "parameter"]
        return f"where `{names[0]}` is {'' if truth else 'not '}None" if names else None
    return None


def _lost(program: Program, event: Event) -> tuple[str, Term] | None:
    """The local tensor that layers computed last, if nothing was done with it."""
    kept = {id(leaf) for value in event.subject.attrs.values() for leaf in leaves(value)}
    for name, value in reversed(event.details["names"].items()):
        if type(value) is not Term or value.node is None or id(value) in kept or id(value) in program.handed:
            continue
        if program.consumers(value) or id(value) in program.backpropagated:
            continue
        if any("layer" in (term.info or {}) for term in graph.ancestors(value)):
            return name, value
    return None
