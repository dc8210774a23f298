"""Which parameters are trained: switches that miss them, and optimizers that hold others than those of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from nndoctor.findings import Confidence, Severity
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead
from nndoctor.scan.values import Api, Const, Instance, Lib, Site, Term, Value

_WAYS_TO_PARAMETERS = frozenset({"element", "part", "item", "index", "data"})


def module_of(value: Value) -> Value | None:
    """The module that a parameter belongs to: of `p` in `m.parameters()`, and of `m.weight`."""
    while type(value) is Term and value.op in _WAYS_TO_PARAMETERS:
        value = value.inputs[0]
    if type(value) is Term and value.op in ("parameters", "attribute"):
        return value.inputs[0]
    return None


def is_parameter(value: Value) -> bool:
    """Whether a value is certainly a parameter of some module."""
    if type(value) is not Term:
        return False
    if value.op == "attribute":
        return type(value.inputs[0]) is Lib and value.inputs[0].kind == "layer"
    root = value
    while type(root) is Term and root.op in _WAYS_TO_PARAMETERS:
        root = root.inputs[0]
    return root is not value and type(root) is Term and root.op == "parameters"


_WITH_WEIGHTS = frozenset("linear conv embedding embeddingbag rnn rnncell attention transformer".split())


def is_trainable(module: Value) -> bool:
    """Whether a module is a layer with weights to be learnt, or a whole model of a library."""
    return type(module) is Lib and (module.kind == "model" or module.attrs.get("$operation") in _WITH_WEIGHTS)


# `BertModel.from_pretrained(...)`, `AutoModelForCausalLM.from_config(...)`
_PRETRAINED = re.compile(r"(transformers|diffusers)\.\w*(Model|For[A-Z]|UNet|Autoencoder)\w*\.from_\w+")


def _is_pretrained(value: Value) -> bool:
    """Whether a value is a model that a hub gave."""
    called = kinds.callee(value)
    return type(called) is Api and bool(_PRETRAINED.fullmatch(called.name))


def _is_module(value: Value) -> bool:
    """Whether a value is a module, is called like a model, or is an element of `modules()` or `children()`."""
    if type(value) is Instance or type(value) is Lib:
        return kinds.is_model(value)
    if kinds.is_model(value) or _is_pretrained(value):
        return True
    if type(value) is Term and value.op == "part":  # of `named_children()`
        value = value.inputs[0]
    return type(value) is Term and value.op == "element" and getattr(value.inputs[0], "op", None) == "modules"


def switches(program: Program) -> Iterator[tuple[Value, Value, Event]]:
    """Where `requires_grad` of parameters is set as it should be: the module, the new value and the event."""
    for event in program.of("attribute"):
        if event.details["name"] == "requires_grad" and type(event.subject) is Term:
            yield module_of(event.subject), event.details["value"], event
    for event in program.methods("requires_grad_"):
        flag = event.details["args"].get(0, "requires_grad") or Const(True)
        yield module_of(event.subject) or event.subject, flag, event


# ND308


@rule("ND308")
def requires_grad_misplaced(program: Program) -> Iterator[Draft]:
    for event in program.of("attribute"):
        name, subject = event.details["name"], event.subject
        if name in torch_api.MISSPELT_REQUIRES_GRAD and (_is_module(subject) or _is_tensor(subject)):
            yield _misspelt(event, name)
        elif name == "requires_grad_" and (_is_module(subject) or is_parameter(subject)):
            yield _replaced_method(event)
        elif name == "requires_grad" and _is_module(subject) and _is_switch(event):
            yield _set_on_module(program, event)


_NAMES = frozenset("call attribute parameter name import item unknown forward joined element part".split())


def _is_tensor(value: Value) -> bool:
    """Whether a value is a parameter, or a tensor that an operation made."""
    return is_parameter(value) or (type(value) is Term and value.node is not None and value.op not in _NAMES)


def _is_switch(event: Event) -> bool:
    """Whether a bool is set on another module, not a flag on the object itself by a class that has such a flag."""
    if event.frames[-1].receiver is event.subject:
        return False
    if type(event.subject) is Instance and event.subject.cls.find("requires_grad") is not None:
        return False
    value = event.details["value"]
    return type(value) is Const and isinstance(value.value, bool)


def _assignment(event: Event) -> str:
    value = event.details["value"]
    target = wording.text(event.site)
    written = type(value) is Const and type(event.site.node) is cst.Attribute
    return f"{target} = {value.value}" if written else target


def _owner_text(event: Event) -> str:
    """What the user calls the object whose attribute is set."""
    node = event.site.node
    return wording.text(Site(event.site.source, node.value)) if type(node) is cst.Attribute else "it"


def _misspelt(event: Event, name: str) -> Draft:
    message = f"`{_assignment(event)}` sets a new attribute `{name}`; the tensor's own is `requires_grad`"
    owner = _owner_text(event)
    right = f"{owner}.requires_grad"
    treatment = f"Write `{right}`."
    repair: Repair | None = instead(event.site, right, f"write `{right}`")
    if type(event.site.node) is not cst.Attribute or not is_parameter(event.subject):
        repair = None
    if _is_module(event.subject):
        treatment = f"Write `{owner}.requires_grad_(...)`: it sets `requires_grad` of every parameter of the module."
    return Draft("ND308", event.site, message, treatment=treatment, repair=repair)


def _replaced_method(event: Event) -> Draft:
    owner, value = _owner_text(event), event.details["value"]
    argument = str(value.value) if type(value) is Const else "..."
    message = f"`{_assignment(event)}` replaces the method by a value instead of calling it; nothing is frozen or freed"
    return Draft("ND308", event.site, message, treatment=f"Call it: `{owner}.requires_grad_({argument})`.")


def _set_on_module(program: Program, event: Event) -> Draft:
    value = event.details["value"].value
    remains = "its parameters stay as they were" if value else "its parameters are still trained"
    message = f"`{_assignment(event)}` only sets an attribute of the module; {remains}"
    treatment = f"Write `{_owner_text(event)}.requires_grad_({value})`: it sets `requires_grad` of every parameter."
    confidence = Confidence.LIKELY if kinds.name_of(event.subject) else Confidence.CERTAIN
    if _is_switched_elsewhere(program, event):
        confidence = Confidence.POSSIBLE
    severity = Severity.WARNING if _is_trained_by_none(program, event.subject) else None
    return Draft("ND308", event.site, message, (), confidence, severity, treatment)


def _is_switched_elsewhere(program: Program, event: Event) -> bool:
    """Whether the parameters of the module are set to the same value rightly, so that the line does no harm."""
    subject, wanted = event.subject, event.details["value"].value
    return any(
        type(value) is Const and value.value == wanted and (_holds(subject, module) or _holds(module, subject))
        for module, value, _ in switches(program)
    )


def _holds(whole: Value, part: Value | None) -> bool:
    return any(part is module for module in kinds.descendants(whole))


def _is_trained_by_none(program: Program, module: Value) -> bool:
    """Whether the optimizers are known, and none of them holds the module."""
    trained = [event.details["trained"] for event in program.of("optimizer")]
    if not trained or any(owners is None for owners in trained) or type(module) is Term:
        return False
    return not any(_holds(owner, module) for owners in trained for owner in owners)
