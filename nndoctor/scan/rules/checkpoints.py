"""What is saved and loaded: pickles, references instead of copies, methods that were not called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead, with_argument
from nndoctor.scan.values import Const, Container, Instance, Lib, Method, Site, Term, Value

_SAFE_BY_DEFAULT = (2, 6)  # the torch whose `load` unpickles tensors and plain containers only
_STATE = "state_dict"
MAX_DEPTH = 3  # of dictionaries in a checkpoint


@rule("ND702")
def unsafe_load(program: Program) -> Iterator[Draft]:
    oldest = program.minimum_torch
    old = oldest is not None and oldest < _SAFE_BY_DEFAULT
    for event in program.calls("torch.load"):
        args = event.details["args"]
        if args.open:
            continue
        given = args.keywords.get("weights_only")
        if given is None and old:
            message = "`torch.load` runs whatever code the file holds: torch before 2.6 does not restrict the pickle"
            yield Draft("ND702", event.site, message, repair=_restricted(event))
        elif type(given) is Const and given.value is False:
            message = "`weights_only=False` runs whatever code the file holds"
            yield Draft("ND702", event.site, message, severity=Severity.INFO)
        elif args.get(1, "map_location") is None:
            message = "`torch.load` without `map_location` needs the device on which the file was saved"
            yield Draft("ND702", event.site, message, confidence=Confidence.POSSIBLE, severity=Severity.INFO)


def _restricted(event: Event) -> Repair | None:
    node: Any = event.site.node
    return with_argument(event.site, "weights_only=True", safe=False) if node.args else None


@rule("ND703")
def whole_model_pickled(program: Program) -> Iterator[Draft]:
    for event in program.calls("torch.save"):
        saved = event.details["args"].get(0, "obj")
        if saved is None:
            continue
        for leaf in event.options(saved):
            named = next(_uncalled(leaf), None)
            if named is not None:
                message = (
                    f"`{_STATE}` is saved without being called: the file holds a method, and with it the whole model"
                )
                yield Draft("ND703", event.site, message, severity=Severity.ERROR, repair=_called(event))
            elif type(leaf) in (Instance, Lib) and kinds.is_model(leaf):
                yield Draft(
                    "ND703", event.site, f"`{wording.text(event.site)}` pickles the model whole, with its class"
                )


def _uncalled(value: Value, depth: int = MAX_DEPTH) -> Iterator[Value]:
    """Methods called state_dict among what is saved."""
    if (type(value) is Method and value.name == _STATE) or (type(value) is Term and _names_state(value)):
        yield value
    elif depth and type(value) is Container:
        for item in kinds.held(value):
            yield from _uncalled(item, depth - 1)


def _names_state(term: Term) -> bool:
    if term.op != "attribute":
        return False
    last = term.inputs[-1]
    return last == _STATE or (type(last) is Const and last.value == _STATE)


def _called(event: Event) -> Repair | None:
    """The missing parentheses, where the method itself is the first argument."""
    node: Any = event.site.node
    first = node.args[0].value if type(node) is cst.Call and node.args else None
    if type(first) is not cst.Attribute or first.attr.value != _STATE:
        return None
    site = Site(event.site.source, first)
    return instead(site, f"{wording.code(site)}()", "call `state_dict`")


@rule("ND704")
def best_kept_by_reference(program: Program) -> Iterator[Draft]:
    """The best weights are remembered, training goes on, and what is restored is the last weights."""
    kept = {id(event.details["result"]): event for event in reversed(list(program.methods(_STATE)))}
    steps = list(program.of("step"))
    for event in program.methods("load_state_dict"):
        state = event.details["args"].get(0, "state_dict")
        for leaf in event.options(state) if state is not None else ():
            origin = kept.get(id(leaf))
            if origin is None or origin.subject is not event.subject or origin.order > event.order:
                continue
            trained = next((step for step in steps if origin.order < step.order < event.order), None)
            if trained is not None:
                yield _not_copied(event, origin, trained)


def _not_copied(load: Event, state: Event, step: Event) -> Draft:
    text = wording.code(state.site)
    message = f"`{text}` refers to the weights themselves: the steps that follow change what was kept"
    evidence = ((step.site, "this step changes them"), (load.site, "and the last weights are restored here"))
    repair = instead(state.site, f"{{k: v.clone() for k, v in {text}.items()}}", "copy the weights")
    return Draft("ND704", state.site, message, evidence, repair=repair)
