"""Which optimizer holds the parameters that a loss is computed with: none, one made too early, a new one each epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.states import TRAIN
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.parameters import is_trainable, module_of, switches
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Container, Instance, Lib, Site, State, Term, Tuple, Value, leaves


def _parts(modules: list[Value]) -> set[int]:
    """The ids of modules and of all modules inside them."""
    return {id(part) for module in modules for part in kinds.descendants(module)}


def _base(module: Value) -> Value:
    """The model that `model.layer4[1]` is a part of, where its parts are unknown; else the module itself."""
    while type(module) is Term and module.op in ("attribute", "item", "element") and module.inputs:
        module = module.inputs[0]
    return module


# ND212: a layer comes in after the optimizer was made


@rule("ND212")
def layer_added_after_optimizer(program: Program) -> Iterator[Draft]:
    holders: dict[int, list[Event]] = {}  # the optimizers that hold a module, by its id
    for optimizer in program.of("optimizer"):
        for part in _parts(optimizer.details["trained"] or []):
            holders.setdefault(part, []).append(optimizer)
    later = [
        (event, optimizer)
        for event in (program.of("part", "stored") if holders else ())
        for optimizer in holders.get(id(_base(event.subject)), ())
        if _comes_after(event, optimizer)
    ]
    born = {id(event.details["result"]): event.order for event in program.of("call")} if later else {}
    for event, optimizer in later:
        layers = [part for part in _new_parts(event) if is_trainable(part)]
        new = [layer for layer in layers if born.get(id(layer), 0) > optimizer.order]
        if not new or _is_held_later(program, optimizer, new) or not _steps_after(program, optimizer, event):
            continue
        if not (_MEANT.search(wording.text(event.site)) or _is_frozen(program, new)):
            yield _left_out(event, optimizer)


def _comes_after(event: Event, optimizer: Event) -> bool:
    """Whether an optimizer was already there in this run, on some path that leads to the event."""
    if optimizer.order > event.order or optimizer.frames[0] is not event.frames[0]:
        return False
    return all(optimizer.assumed.get(term, truth) is truth for term, truth in event.assumed.items())


def _new_parts(event: Event) -> Iterator[Value]:
    return (part for value in event.options(event.details["value"]) for part in kinds.descendants(value))


def _is_held_later(program: Program, optimizer: Event, layers: list[Value]) -> bool:
    """Whether an optimizer made later may hold the layers, or one is given more parameters."""
    if any(program.methods("add_param_group")):
        return True
    others = [event.details["trained"] for event in program.of("optimizer") if event.order > optimizer.order]
    return any(trained is None or _parts(trained) & set(map(id, layers)) for trained in others)


def _steps_after(program: Program, optimizer: Event, event: Event) -> bool:
    return any(step.subject is optimizer.subject and step.order > event.order for step in program.of("step"))


def _is_frozen(program: Program, layers: list[Value]) -> bool:
    frozen = [module for module, value, _ in switches(program) if type(value) is Const and value.value is False]
    return bool(_parts(frozen) & set(map(id, layers)))


def _left_out(event: Event, optimizer: Event) -> Draft:
    evidence = ((optimizer.site, "the optimizer took the parameters that were there then"),)
    message = f"`{wording.text(event.site)}` gets a new layer after the optimizer was made; it is never trained"
    sure = set(event.assumed.items()) <= set(optimizer.assumed.items())
    return Draft("ND212", event.site, message, evidence, Confidence.CERTAIN if sure else Confidence.LIKELY)


# ND212: the optimizer is made anew in each epoch

_EPOCH = re.compile(r"epoch", re.IGNORECASE)


@rule("ND212")
def optimizer_made_in_each_epoch(program: Program) -> Iterator[Draft]:
    seen: dict[tuple[object, ...], Event] = {}
    for event in program.of("optimizer"):
        key = (event.site.node, *event.loops)
        before = seen.setdefault(key, event)
        repeated = before is not event and _counts_epochs(event) and _is_the_same(before, event)
        if repeated and _has_state(event) and any(_follows(backward, event) for backward in program.of("backward")):
            message = f"a new `{event.subject.name}` is made in each epoch and forgets its running averages"
            treatment = "Make the optimizer once, before the epoch loop."
            yield Draft("ND212", event.site, message, severity=Severity.WARNING, treatment=treatment)


def _counts_epochs(event: Event) -> bool:
    node: Any = event.loops[-1].node if event.loops else None
    target = getattr(node, "target", None)
    return target is not None and bool(_EPOCH.search(wording.text(Site(event.loops[-1].frame.source, target))))


def _has_state(event: Event) -> bool:
    """Whether an optimizer keeps more than the parameters; plain SGD does not."""
    if event.subject.name != "SGD":
        return True
    momentum = event.details["args"].get(2, "momentum")
    return type(momentum) is Const and momentum.value != 0


def _is_the_same(before: Event, event: Event) -> bool:
    """Whether the optimizer holds the same modules as in the epoch before, at a rate that is not its schedule."""
    trained, again = before.details["trained"], event.details["trained"]
    if not trained or not again or set(map(id, trained)) != set(map(id, again)):
        return False
    rates = [e.details["args"].get(1, "lr") for e in (before, event)]
    return rates[0] is rates[1] or (all(type(r) is Const for r in rates) and rates[0].value == rates[1].value)


def _follows(backward: Event, optimizer: Event) -> bool:
    """Whether each epoch that computes gradients also makes the optimizer."""
    around = optimizer.loops
    return backward.loops[: len(around)] == around and set(optimizer.assumed.items()) <= set(backward.assumed.items())


# ND213, and ND212 for a model that is made anew


class Orphan(NamedTuple):
    """A model that a loss is computed with although no optimizer holds it, and the optimizer that steps instead."""

    output: Term
    backward: Event
    optimizer: Event

    @property
    def model(self) -> Value:
        """The model itself."""
        return self.output.inputs[1]


@rule("ND212", "ND213")
def parameters_not_optimised(program: Program) -> Iterator[Draft]:
    if program.engines:
        return
    told: set[int] = set()
    for orphan in _orphans(program):
        if id(orphan.model) not in told:
            told.add(id(orphan.model))
            yield _made_anew(program, orphan) or _forgotten(orphan)


def _orphans(program: Program) -> Iterator[Orphan]:
    made = {id(event.subject): event for event in program.of("optimizer")}
    steps: dict[int, list[Event]] = {}  # by the run of the program that they belong to
    for step in program.of("step") if made else ():
        steps.setdefault(id(step.frames[0]), []).append(step)
    held = [owner for optimizer in made.values() for owner in optimizer.details["trained"] or ()]
    asked = _parts(held) | set(program.handed) if steps else set()
    orphans = list(_not_among(asked, program, steps, made))
    asked = _asked_for_parameters(program) if orphans else set()
    return (orphan for orphan in orphans if not any(id(part) in asked for part in kinds.descendants(orphan.model)))


def _not_among(
    asked: set[int], program: Program, steps: dict[int, list[Event]], made: dict[int, Event]
) -> Iterator[Orphan]:
    """The models that losses are computed with, none of whose parts is among these."""
    for event in program.of("backward"):
        stepped = steps.get(id(event.frames[0]), [])
        after = next((step for step in stepped if step.order > event.order), None)
        if after is not None and all(_is_known(made.get(id(step.subject))) for step in stepped):
            for output in graph.forwards(event.subject):
                if _is_orphan(output, asked):
                    yield Orphan(output, event, made[id(after.subject)])


def _is_known(optimizer: Event | None) -> bool:
    """Whether it is known which modules an optimizer trains."""
    return optimizer is not None and optimizer.details["trained"] is not None


def _asked_for_parameters(program: Program) -> set[int]:
    """The ids of the modules whose parameters somebody asks for, sets or freezes."""
    asked = ("parameters", "named_parameters", "load_state_dict", "requires_grad_")
    events = list(program.methods(*asked))
    modules = [event.subject for event in events]
    modules += [item for event in events for loop in event.loops for item in _items(loop.iterable)]
    modules += [module for module, _, _ in switches(program) if module is not None]
    modules += [module_of(event.subject) or event.subject for event in program.of("attribute")]
    return _parts(modules)


def _items(iterable: Value) -> Iterator[Value]:
    """What a loop may go through, of which a long list is only run for some."""
    while type(iterable) is Term and iterable.op in ("enumerate", "values", "items", "reversed"):
        iterable = iterable.inputs[0]
    sources = iterable.inputs if type(iterable) is Term and iterable.op == "zip" else (iterable,)
    held = [item for source in sources if type(source) in (Tuple, Container) for item in kinds.held(source)]
    return (leaf for item in held for leaf in leaves(item))


def _is_orphan(output: Term, asked: set[int]) -> bool:
    """Whether a model is in train mode, has weights to learn, was made here and asked by nobody for its parameters."""
    model, mode = output.inputs[1], output.inputs[2]
    parts = list(kinds.descendants(model))
    if not (type(mode) is State and mode.name == TRAIN) or any(id(part) in asked for part in parts):
        return False
    if any(type(part) is Term or (type(part) is Lib and part.kind == "model") for part in parts):
        return False
    made_here = type(model) is Instance and "?" not in model.cls.roots and not _MEANT.search(model.cls.name)
    return made_here and any(map(is_trainable, parts))


# Networks that are left as they are on purpose are called so.
_MEANT = re.compile(
    r"target|teacher|frozen|fixed|random|ema|momentum|perceptual|vgg|pretrained|reservoir", re.IGNORECASE
)


def _name(output: Term) -> str:
    node: Any = output.node
    return wording.text(Site(output.source, getattr(node, "func", node)))  # type: ignore[arg-type]


def _made_anew(program: Program, orphan: Orphan) -> Draft | None:
    """The finding if an optimizer holds another object of the same class, which was made before."""
    model = orphan.model
    twins = [m for m in orphan.optimizer.details["trained"] if type(m) is Instance and m.cls is model.cls]
    made = next((event for event in program.of("made") if event.subject is model), None)
    if not twins or made is None or made.order < orphan.optimizer.order:
        return None
    used = orphan.output.site
    assert used is not None
    evidence = (
        (orphan.optimizer.site, "the optimizer holds the parameters of the one before"),
        (used, "the loss is computed with the new one"),
    )
    message = f"another `{model.cls.name}` is made here, and no optimizer holds its parameters"
    return Draft("ND212", made.site, message, evidence)


def _forgotten(orphan: Orphan) -> Draft:
    name = _name(orphan.output)
    used = orphan.output.site
    assert used is not None
    evidence = (
        (used, "the loss is computed with it"),
        (orphan.backward.site, "its gradients are computed here, and nobody uses them"),
    )
    message = f"the parameters of `{name}` are in no optimizer; it keeps its initial weights"
    treatment = f"Give the optimizer `{name}.parameters()` too, or freeze it with `{name}.requires_grad_(False)`."
    return Draft("ND213", orphan.optimizer.site, message, evidence, Confidence.CERTAIN, None, treatment)


# ND213: parameters that are freed after the optimizer has passed them over


@rule("ND213")
def freed_after_optimizer(program: Program) -> Iterator[Draft]:
    for optimizer in program.of("optimizer"):
        if _takes_trainable_only(optimizer) and not any(program.methods("add_param_group")):
            frozen = [module for module, _ in _switched(program, False, optimizer) if module is not None]
            for module, event in _switched(program, True, optimizer):
                inside = _parts(frozen) & _parts(optimizer.details["trained"] or [])
                if id(_base(module)) in inside and _is_left_to(program, optimizer, event):
                    yield _passed_over(event, optimizer)


def _takes_trainable_only(optimizer: Event) -> bool:
    """Whether an optimizer was given `filter(lambda p: p.requires_grad, model.parameters())`."""
    given = optimizer.details["args"].get(0, "params")
    return getattr(kinds.callee(given), "name", "") == "builtins.filter"


def _switched(program: Program, wanted: bool, optimizer: Event) -> Iterator[tuple[Value, Event]]:
    """The modules frozen before an optimizer was made, or those freed after it."""
    for module, value, event in switches(program):
        same_run = event.frames[0] is optimizer.frames[0]
        if same_run and type(value) is Const and value.value is wanted and wanted == (event.order > optimizer.order):
            yield module, event


def _is_left_to(program: Program, optimizer: Event, event: Event) -> bool:
    """Whether the same optimizer goes on after an event, and none is made that may hold more."""
    later = any(made.order > event.order for made in program.of("optimizer"))
    return not later and _steps_after(program, optimizer, event)


def _passed_over(event: Event, optimizer: Event) -> Draft:
    evidence = ((optimizer.site, "the optimizer took only what was trainable then"),)
    message = "these parameters are freed after the optimizer has passed them over; it never changes them"
    treatment = "Give them to it: `optimizer.add_param_group({'params': ...})`, or make the optimizer anew."
    return Draft("ND213", event.site, message, evidence, Confidence.LIKELY, None, treatment)
