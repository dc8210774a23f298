"""How weights begin: all alike, or with an initialisation that is written and never applied."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.findings import Confidence, Severity
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Const, Function, Instance, Lib, Site, Term, Tuple, Value
from nndoctor.thresholds import Threshold

_WEIGHTED = frozenset({"linear", "conv"})
_FILLS = {"zeros_": 0, "ones_": 1, "constant_": None, "zero_": 0, "fill_": None}  # method or function -> value
_INIT = "torch.nn.init."
LEAST_LAYERS = Threshold(
    "ND412",
    "layers",
    2,
    "A single layer of one constant value is a usual way to begin with the identity, or with a convex problem.",
)
_INIT_NAME = re.compile(r"^_?((init|initiali[sz]e)_?weights?|weights?_init(iali[sz]er|iali[sz]ation)?)$", re.IGNORECASE)


@rule("ND412")
def constant_initialisation(program: Program) -> Iterator[Draft]:
    by_owner: dict[int, list[tuple[Event, Lib]]] = {}
    for event in _fills(program):
        tensor = _filled(event)
        if tensor.op == "element" and _is_parameters(tensor.inputs[0]):
            yield from _all_parameters(event, tensor)
        elif tensor.op == "attribute" and tensor.inputs[-1] == "weight":
            holder = tensor.inputs[0]
            if type(holder) is Term:
                yield from _each_of_class(program, event, holder)
            elif type(holder) is Lib and (owner := _owner(event)) is not None:
                by_owner.setdefault(id(owner), []).append((event, holder))
    for filled in by_owner.values():
        yield from _every_layer(filled)


def _fills(program: Program) -> Iterator[Event]:
    """The places that give a tensor one constant value."""
    functions = (_INIT + name for name in ("zeros_", "ones_", "constant_"))
    yield from (e for e in program.calls(*functions) if type(_filled(e)) is Term and _constant(e) is not None)
    yield from (e for e in program.methods("zero_", "fill_") if type(e.subject) is Term and _constant(e) is not None)


def _filled(event: Event) -> Value:
    """The tensor that is filled, without `.data` and `.detach()`."""
    tensor = event.subject if event.kind == "method" else event.details["args"].get(0, "tensor")
    while type(tensor) is Term and tensor.op in ("data", "detach"):
        tensor = tensor.inputs[0]
    return tensor


def _constant(event: Event) -> Value:
    name, args = event.details["name"].rpartition(".")[2], event.details["args"]
    if _FILLS[name] is not None:
        return Const(_FILLS[name])
    value = args.get(0, "value") if event.kind == "method" else args.get(1, "val")
    return value if type(value) is Const else None


def _layers(module: Value) -> list[Lib]:
    """The layers of a module that multiply with weights."""
    parts = {id(part): part for part in kinds.descendants(module) if type(part) is Lib}
    return [part for part in parts.values() if part.attrs.get("$operation") in _WEIGHTED]


# Every parameter


def _is_parameters(value: Value) -> bool:
    return type(value) is Term and value.op == "parameters"


def _all_parameters(event: Event, tensor: Term) -> Iterator[Draft]:
    """`for p in model.parameters(): init.constant_(p, 0.1)`, if nothing chooses among them."""
    module = tensor.inputs[0].inputs[0]
    chosen = any(_mentions(condition, tensor) for condition in event.assumed)
    if type(module) in (Instance, Lib) and not chosen and len(_layers(module)) >= LEAST_LAYERS.value:
        yield _alike(event, "every parameter of the model")


def _mentions(condition: Value, tensor: Term, depth: int = 6) -> bool:
    if condition is tensor:
        return True
    return type(condition) is Term and depth > 0 and any(_mentions(v, tensor, depth - 1) for v in condition.inputs)


# Every layer of a class


def _each_of_class(program: Program, event: Event, module: Term) -> Iterator[Draft]:
    """A function for `model.apply`, or a loop over `model.modules()`, that fills the weights of linear layers."""
    concerned = _chosen(event, module)
    for target in _visited(program, event, module) if concerned else ():
        alike = [layer for layer in _layers(target) if layer.attrs["$operation"] in concerned]
        if len(alike) >= LEAST_LAYERS.value and not _is_filled_later(program, target):
            yield _alike(event, f"every {alike[0].name} layer")
            return


def _chosen(event: Event, module: Term) -> set[str]:
    """The operations with weights that pass the conditions under which something happens to a module."""
    passed: set[str] | None = None
    excluded: set[str] = set()
    for condition, truth in event.assumed.items():
        named, holds = _named(condition, truth, module)
        if named and holds:
            passed = named if passed is None else passed & named
        else:
            excluded |= named
    return ((passed or set()) & _WEIGHTED) - excluded


def _named(condition: Term, truth: bool, module: Term) -> tuple[set[str], bool]:
    """The operations that a condition names, and whether they pass it; there may be none.

    `isinstance(m, nn.Linear)`, `type(m) == nn.Linear` and `classname.find("Linear") == -1`.
    """
    if condition.op == "isinstance" and condition.inputs[0] is module:
        classes = condition.inputs[1].items if type(condition.inputs[1]) is Tuple else condition.inputs[1:]
        return {_operation(cls) for cls in classes if _is_layer_class(cls)}, truth
    if condition.op != "Equal" or not _mentions(condition, module):
        return set(), truth
    if any(_is_minus_one(value) for value in condition.inputs):
        return _words(condition), not truth
    return {_operation(value) for value in condition.inputs if _is_layer_class(value)}, truth


def _operation(layer: Api) -> str:
    return torch_api.LAYERS[layer.name.removeprefix("torch.nn.")]


def _is_minus_one(value: Value) -> bool:
    return type(value) is Const and value.value == -1


def _words(condition: Term) -> set[str]:
    """The parts of class names that a call looks for."""
    calls = [value for value in condition.inputs if type(value) is Term]
    words = [v.value for call in calls for v in call.inputs if type(v) is Const and isinstance(v.value, str)]
    return {word.lower() for word in words}


def _is_layer_class(value: Value) -> bool:
    return type(value) is Api and value.name.removeprefix("torch.nn.") in torch_api.LAYERS


def _visited(program: Program, event: Event, module: Term) -> Iterator[Value]:
    """The modules to whose layers this happens."""
    if module.op == "element" and type(module.inputs[0]) is Term and module.inputs[0].op == "modules":
        yield module.inputs[0].inputs[0]
    function = event.frames[-1].function
    if module.op == "parameter" and function is not None:
        for applied in program.methods("apply"):
            given = applied.details["args"].get(0, "fn")
            if type(given) is Function and given.node is function.node:
                yield applied.subject


def _is_filled_later(program: Program, module: Value) -> bool:
    """Whether weights are copied or loaded into a module, so that most of the constants do not last."""
    for event in program.methods("copy_", "load_state_dict"):
        holder = event.frames[-1].receiver
        if event.subject is module or (type(holder) is Instance is type(module) and holder.cls is module.cls):
            return True
    return False


# Every layer of one module


def _owner(event: Event) -> Instance | None:
    """The module whose method fills the weights."""
    receivers = (frame.receiver for frame in reversed(event.frames) if type(frame.receiver) is Instance)
    return next((receiver for receiver in receivers if receiver.cls.is_module), None)


def _every_layer(filled: list[tuple[Event, Lib]]) -> Iterator[Draft]:
    owner = _owner(filled[0][0])
    alike = {id(layer) for _, layer in filled}
    layers = _layers(owner)
    if len(layers) >= LEAST_LAYERS.value and all(id(layer) in alike for layer in layers):
        yield _alike(filled[0][0], f"every layer of {owner.cls.name}" if owner is not None else "every layer")


def _alike(event: Event, what: str) -> Draft:
    value = _constant(event).value
    message = f"`{wording.text(event.site)}` gives {what} the same weight {value}: all units compute the same"
    return Draft("ND412", event.site, message, confidence=Confidence.CERTAIN)


# Written and not applied


@rule("ND412")
def initialisation_never_applied(program: Program) -> Iterator[Draft]:
    inside = {
        id(frame.function.node)
        for event in program.calls_within(_INIT)
        for frame in event.frames[-1:]
        if frame.function is not None
    }
    trained = {event.site.source for event in program.of("backward")}
    for function in program.functions if inside else ():
        if function.source not in trained or id(function.node) not in inside or not _INIT_NAME.match(function.name):
            continue
        own = function.owner is None or function.owner.roots <= {"torch.nn.Module"}
        if own and not any(_is_named(function, source.text) for source in program.sources):
            message = f"`{function.name}` initialises weights, and nothing applies it"
            site = Site(function.source, function.node.name)
            treatment = f"Write `model.apply({function.name})` after the model is made, or remove the function."
            yield Draft("ND412", site, message, (), Confidence.LIKELY, Severity.WARNING, treatment)


def _is_named(function: Function, text: str) -> bool:
    """Whether a text names the function anywhere but where it is defined."""
    uses = re.findall(rf"(?<!def )\b{re.escape(function.name)}\b", text)
    return bool(uses)
