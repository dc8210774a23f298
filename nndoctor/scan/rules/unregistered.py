"""Parameters that torch does not see: plain tensors, copies of parameters, lists of them, modules made too early."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.noting import is_trainable
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Class, Container, Function, Instance, Term, Value, leaves

_OWN_WAYS = ("parameters", "named_parameters", "_apply", "__getattr__", "__setattr__")  # of reaching tensors
_PLACEHOLDERS = ("dummy", "placeholder", "_zero", "device_indicator")  # names of tensors that nothing has to train


@rule("ND413")
def parameter_not_registered(program: Program) -> Iterator[Draft]:
    for event in program.of("trainable tensor", "part"):
        if not _in_constructor(event) or any(type(event.subject.cls.find(way)) is Function for way in _OWN_WAYS):
            continue
        draft = _too_early(event) if event.kind == "part" and not event.details["ready"] else _hidden(program, event)
        if draft is not None:
            yield draft


def _in_constructor(event: Event) -> bool:
    return any(
        frame.function is not None and frame.function.name == "__init__" and frame.receiver is event.subject
        for frame in event.frames
    )


def _too_early(event: Event) -> Draft | None:
    """A module set as an attribute before torch's constructor has run."""
    cls: Class = event.subject.cls
    modules = [leaf for leaf in event.options(event.details["value"]) if kinds.is_model(leaf)]
    library = cls.roots == frozenset({"torch.nn.Module"})
    if not modules or not library or event.details["name"] in cls.attrs or _has_bases(cls):
        return None
    message = f"`{wording.text(event.site)}` is set before `super().__init__()` has run, which torch refuses"
    treatment = f"Call `super().__init__()` in the first line of `{cls.name}.__init__`."
    return Draft("ND413", event.site, message, treatment=treatment)


def _has_bases(cls: Class) -> bool:
    """Whether a class takes more than `nn.Module` alone for its base, or calls its constructor in another way."""
    return any(len(base.bases) != 1 for base in cls.mro) or any(base.node.keywords for base in cls.mro)


def _hidden(program: Program, event: Event) -> Draft | None:
    """A tensor or list of parameters that stays a plain attribute."""
    owner, name, value = event.subject, event.details["name"], event.details["value"]
    lost = _lost(event, value)
    if not lost or value not in leaves(owner.attrs.get(name)) or any(p in name.lower() for p in _PLACEHOLDERS):
        return None
    registered = _registered(owner)
    if not _is_read(program, name) or any(_is_reached(program, term, registered) for term in lost):
        return None
    text = wording.text(event.site)
    if type(value) is Container:
        message = f"`{text}` is a plain {value.kind} of parameters: the module does not register them"
        treatment = f"Make `{text}` an `nn.Parameter{'Dict' if value.kind == 'dict' else 'List'}`."
    elif lost[0] is value:
        message = f"`{text}` requires a gradient but is a plain tensor: no optimizer, `to()` or checkpoint sees it"
        treatment = f"Write `{text} = nn.Parameter(...)`."
    else:
        message = f"`{text}` is computed from an `nn.Parameter`, and is itself none: the module does not register it"
        treatment = f"Store the `nn.Parameter` itself in `{text}`; `model.to(device)` moves it with the rest."
    return Draft("ND413", event.site, message, wording.made_at(lost[0]), Confidence.CERTAIN, treatment=treatment)


def _is_read(program: Program, name: str) -> bool:
    """Whether the attribute is named more than once; one that nothing reads does no harm."""
    return sum(source.text.count(f".{name}") for source in program.sources) > 1


def _lost(event: Event, value: Value) -> list[Term]:
    """The tensors that an attribute hides from its module."""
    if event.kind == "trainable tensor":
        return [value.inputs[0] if is_trainable(value.inputs[0] if value.inputs else None) else value]
    if type(value) is not Container:
        return []
    items = kinds.held(value)
    return list(items) if items and all(is_trainable(item) for item in items) else []


def _registered(owner: Instance) -> set[int]:
    """The tensors that a module and its parts hold as attributes or items of parameter lists."""
    found: set[int] = set()
    for module in kinds.descendants(owner):
        for key, value in (getattr(module, "attrs", None) or {}).items():
            items = (value.values() if type(value) is dict else value) if key == "$items" else (value,)
            found.update(id(leaf) for item in items or () for leaf in leaves(item) if is_trainable(leaf))
    return found


def _is_reached(program: Program, tensor: Term, registered: set[int]) -> bool:
    """Whether a tensor is registered after all, given to an optimizer, or differentiated by hand."""
    if id(tensor) in registered:
        return True
    optimizers = (value for event in program.of("optimizer") for value in event.details["args"].all)
    others = [*program.calls("torch.autograd.grad"), *program.methods("register_parameter")]
    by_hand = (value for event in others for value in event.details["args"].all)
    return any(
        term is tensor for value in (*optimizers, *by_hand) for term in graph.ancestors(value, through_cuts=True)
    )
