"""Modules that torch does not see, or that nothing uses: in plain lists, made in forward, left over from `__init__`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import kinds, states
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Container, Function, Instance, Lib, State, Term, Tuple, Value, is_false, leaves

MAX_NESTING = 3  # lists of lists of modules
# Methods that a class overrides to reach modules which torch does not.
_OWN_WAYS = ("parameters", "named_parameters", "_apply", "__getattr__")


def has_weights(module: Value) -> bool:
    """Whether a module certainly holds weights to train."""
    return any(type(part) is Lib and _is_weighted(part) for part in kinds.descendants(module))


def _is_weighted(part: Lib) -> bool:
    if part.kind == "model":
        return True
    operation = part.attrs.get("$operation")
    if operation not in torch_api.WEIGHTED_OPS:
        return False
    affine = part.args.get("affine") or part.args.get("elementwise_affine")
    return not is_false(affine) and not (part.name.startswith("InstanceNorm") and affine is None)


@rule("ND406")
def modules_in_plain_container(program: Program) -> Iterator[Draft]:
    births: dict[int, Event] | None = None
    for event in program.of("part"):
        owner, name = event.subject, event.details["name"]
        kept = [leaf for leaf in leaves(owner.attrs.get(name)) if type(leaf) in (Container, Tuple)]
        hidden = [part for box in kept if box in event.options(event.details["value"]) for part in _modules_in(box)]
        if not hidden or not _is_own_list(kept[0], hidden) or _reaches_hidden(owner):
            continue
        births = births if births is not None else _births(program)
        lost = [part for part in hidden if _is_lost(program, part, owner, births)]
        if len(lost) == len(hidden):
            yield _hidden(event, kept[0], hidden)


def _modules_in(box: Value, depth: int = MAX_NESTING) -> list[Value]:
    """The modules with weights that a list, tuple or dict holds."""
    found: list[Value] = []
    for item in kinds.held(box):
        for leaf in leaves(item):
            if type(leaf) in (Container, Tuple) and depth:
                found.extend(_modules_in(leaf, depth - 1))
            elif type(leaf) in (Lib, Instance) and kinds.is_model(leaf) and has_weights(leaf):
                found.append(leaf)
    return found


def _is_own_list(box: Value, hidden: list[Value]) -> bool:
    """Whether it is more than `[module]`, by which one hides a module on purpose."""
    return len(kinds.held(box)) > 1 or len(hidden) > 1 or (type(box) is Container and box.attrs["$rest"] is not None)


def _reaches_hidden(owner: Instance) -> bool:
    """Whether the class has its own way to its modules."""
    own = any(type(owner.cls.find(name)) is Function for name in _OWN_WAYS)
    return own or any("_modules" in cls.source.text for cls in owner.cls.mro)


def _births(program: Program) -> dict[int, Event]:
    """The event that made a module, by the id of the module."""
    made = {id(event.subject): event for event in program.of("made")}
    return made | {id(event.details["result"]): event for event in program.of("call")}


def _is_lost(program: Program, part: Value, owner: Instance, births: dict[int, Event]) -> bool:
    """Whether a module was made by its owner, and neither torch nor the user's own code gets at its weights."""
    birth = births.get(id(part))
    if birth is None or all(frame.receiver is not owner for frame in birth.frames):
        return False
    if _is_frozen(part) or part.node in {other.node for other in kinds.descendants(owner) if type(other) is not Term}:
        return False
    by_hand = (e.subject for e in program.methods("parameters", "named_parameters", "requires_grad_"))
    trained = (module for e in program.of("optimizer") for module in e.details["trained"] or ())
    return all(module.node is not part.node for module in (*by_hand, *trained) if type(module) in (Lib, Instance))


def _is_frozen(part: Value) -> bool:
    mode = part.attrs.get(states.MODE)
    return type(mode) is State and mode.name == states.EVAL


def _hidden(event: Event, box: Value, hidden: list[Value]) -> Draft:
    kind = "tuple" if type(box) is Tuple else box.kind
    text = wording.text(event.site)
    message = (
        f"`{text}` is a plain {kind}: the modules in it are not registered, so nothing trains, moves or saves them"
    )
    first = hidden[0]
    evidence = ((first.site, "not among the model's parameters"),)
    instead = "nn.ModuleDict" if kind == "dict" else "nn.ModuleList"
    return Draft("ND406", event.site, message, evidence, treatment=f"Make `{text}` an `{instead}`.")


# Methods that run once for each batch, sequence or step.
_REPEATED = frozenset("forward training_step validation_step encode decode generate sample predict".split())
_FILLS = tuple(f"torch.nn.init.{name}_" for name in ("constant", "ones", "zeros", "eye", "dirac"))


@rule("ND407")
def module_created_in_forward(program: Program) -> Iterator[Draft]:
    births: dict[int, Event] | None = None
    made: dict[tuple[int, int], int] = {}  # node and owner -> how often a module that is kept was made
    for event in chain(program.of("made"), program.of("call")):
        module = event.subject if event.kind == "made" else event.details["result"]
        if type(module) not in (Lib, Instance) or not kinds.is_model(module):
            continue
        frame = _repeated_frame(event)
        if frame is None or not has_weights(module) or _is_filled_by_hand(program, module):
            continue
        births = births if births is not None else _births(program)
        if not _is_fresh(module, frame, births):
            continue
        if _is_kept(program, module, frame.receiver):
            key = (id(event.site.node), id(frame.receiver))
            made[key] = made.get(key, 0) + 1
            if made[key] < 2:
                continue
        where = f"{frame.receiver.cls.name}.{frame.function.name}"
        message = f"`{wording.text(event.site)}` is made anew in each call of {where}: its weights are never trained"
        yield Draft("ND407", event.site, message)


def _is_fresh(module: Value, frame: Any, births: dict[int, Event]) -> bool:
    """Whether weights of a module were drawn while the frame ran, and not given to it or copied."""
    drawn = (births.get(id(part)) for part in kinds.descendants(module) if type(part) is Lib and _is_weighted(part))
    return any(birth is not None and frame in birth.frames and not _is_copy(birth) for birth in drawn)


def _is_copy(birth: Event) -> bool:
    return birth.kind == "call" and str(birth.details["name"]).startswith("copy.")


def _repeated_frame(event: Event) -> Any:
    """The innermost method that runs once for each batch, if it does this itself, and on every path."""
    for frame in reversed(event.frames):
        if frame.function is None or frame.function.name == "__init__":
            return None
        owner = frame.receiver
        if frame.function.name in _REPEATED and type(owner) is Instance and owner.cls.is_module:
            return frame if len(event.assumed) == frame.assumed else None
    return None


def _is_filled_by_hand(program: Program, module: Value) -> bool:
    """Whether its weights were given values, as those of a fixed filter are."""
    if id(module) in program.handed:
        return True
    changed = [event.subject for event in (*program.of("attribute"), *program.methods("copy_", "load_state_dict"))]
    changed += [value for event in program.calls(*_FILLS) for value in event.details["args"].all]
    return any(_belongs_to(value, module) for value in changed)


def _belongs_to(value: Value, module: Value) -> bool:
    """Whether a value is a module, its weight, or the data of that."""
    while type(value) is Term and value.op in ("attribute", "data", "index", "element", "parameters", "part"):
        value = value.inputs[0]
    return value is module


def _is_kept(program: Program, module: Value, owner: Instance) -> bool:
    """Whether an object holds on to a module that one of its methods made."""
    if any(module in event.options(event.details["value"]) for event in program.of("part", "stored")):
        return True
    boxes = [leaf for value in owner.attrs.values() for leaf in leaves(value)]
    return any(module in kinds.held(box) for box in boxes if type(box) in (Container, Tuple))


_READ = re.compile(r"\.([A-Za-z_]\w*)(?!\w)(?!\s*=[^=])")
# What may reach an attribute whose name is not written out.
_BY_COMPUTED_NAME = re.compile(
    r"getattr\((?!\w+(?:\.\w+)*,\s*['\"]\w+['\"])|\b_modules\b|__dict__|children\(\)|(?<![.\w])(?:eval|exec|vars)\("
)


@rule("ND408")
def layer_never_used(program: Program) -> Iterator[Draft]:
    ran = {event.subject.cls for event in program.of("output")}
    texts = [source.text for source in program.sources] if ran else []
    read = {name for text in texts for name in _READ.findall(text)}
    for event in program.of("part"):
        name = event.details["name"]
        if name in read or event.subject.cls not in ran or not _is_left_over(event):
            continue
        if any(f'"{name}"' in text or f"'{name}'" in text for text in texts):
            continue
        if any(_BY_COMPUTED_NAME.search(cls.source.text) for cls in event.subject.cls.mro):
            continue
        message = f"`{wording.text(event.site)}` is made and never used"
        yield Draft("ND408", event.site, message, confidence=Confidence.LIKELY)


def _is_left_over(event: Event) -> bool:
    """Whether a constructor gave a module a layer that matters, and it still has it."""
    owner, layer = event.subject, event.details["value"]
    if type(layer) not in (Lib, Instance) or owner.attrs.get(event.details["name"]) is not layer:
        return False
    constructor = event.frames[-1].function
    if constructor is None or constructor.name != "__init__" or not kinds.is_model(layer):
        return False
    if sum(layer in leaves(value) for value in owner.attrs.values()) > 1:
        return False  # it goes by another name too
    drops = type(layer) is Lib and layer.attrs.get("$operation") == "dropout"
    return drops or has_weights(layer)
