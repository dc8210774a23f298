"""Which models a tensor comes from, and which optimizers train them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.scan.interpreter import kinds
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.program import Program
from nndoctor.scan.values import Api, Choice, Const, Container, Instance, Lib, Term, Tuple, Value, leaves

CUTS = frozenset(
    {
        "detach",
        "data",
        "numpy",
        "tolist",
        "number",
        "float number",
        "counter",
        "argmax",
        "long",
        "len",
        "bool",
        "Equal",
        "LessThan",
        "LessThanEqual",
        "GreaterThan",
        "GreaterThanEqual",
        "eq",
        "ne",
        "gt",
        "lt",
        "ge",
        "le",
        "round",
        "any",
        "all",
        "Is",
        "In",
        "text",
        "size",
        "argmin",
        "number of",
        "slice",
    }
)
MAX_WALK = 2000  # terms of one graph that are looked at


def ancestors(value: Value, through_cuts: bool = False, seen: set[int] | None = None) -> Iterator[Term]:
    """A tensor and everything it was computed from, as far as gradients flow back; without what was `seen` before."""
    seen = set() if seen is None else seen
    stack, limit = [value], len(seen) + MAX_WALK
    while stack and len(seen) < limit:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        kind = type(current)
        if kind is Term:
            if not through_cuts and (current.op in CUTS or (type(current.grad) is Const and not current.grad.value)):
                continue
            yield current
            stack.extend(current.inputs)
        elif kind is Tuple:
            stack.extend(current.items)
        elif kind is Choice:
            stack.extend((current.then, current.otherwise))
        elif kind is Container:
            stack.extend(kinds.held(current))


def forwards(value: Value) -> Iterator[Term]:
    """The model outputs that a loss was computed from."""
    return (term for term in ancestors(value) if term.op == "forward")


def models(value: Value) -> list[Value] | None:
    """The models that a loss was computed with; None if there may be others."""
    found: list[Value] = []
    for term in ancestors(value):
        if term.op == "forward":
            found.append(term.inputs[1])
        elif term.info is not None and type(term.info.get("layer")) is Lib:
            found.append(term.info["layer"])
        elif term.op == "call" and not (term.inputs and kinds.is_model(term.inputs[0])):
            return None
    return found or None


def is_scaled(loss: Value) -> bool:
    """Whether a gradient scaler multiplied the loss, or a summand of it."""
    stack: list[Value] = [loss]
    seen: set[int] = set()
    while stack and len(seen) < MAX_WALK:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if type(current) is Choice:
            stack.extend((current.then, current.otherwise))
        elif type(current) is Term and current.op == "scaled":
            return True
        elif type(current) is Term and current.op in ("+", "/", "*"):
            stack.extend(current.inputs)
    return False


def owners(run: Machine, parameters: Value) -> list[Value] | None:
    """The modules whose parameters these are; None if that is unknown."""
    found: list[Value] = []
    stack, seen = [parameters], set()
    while stack:
        current = run.resolve(stack.pop())
        if id(current) in seen:
            continue
        seen.add(id(current))
        kind = type(current)
        if kind is Term:
            if current.op == "parameters":
                found.append(current.inputs[0])
            stack.extend(current.inputs)
        elif kind in (Tuple, Container):
            stack.extend(kinds.held(current))
        elif kind is Choice:
            stack.extend((current.then, current.otherwise))
        elif kinds.is_model(current):
            found.append(current)
    return found or None


def trained_by(run: Machine, optimizer: Value) -> list[Value] | None:
    """The modules that an optimizer trains; None if that is unknown."""
    if type(optimizer) is not Lib:
        return None
    parameters = optimizer.args.get("params")
    return owners(run, parameters) if parameters is not None else None


def fed(run: Machine, loss: Value) -> list[Value]:
    """The optimizers for which the backward pass of a loss may leave gradients."""
    computed_with = models(loss)
    return [optimizer for optimizer in run.optimizers if concerns(run, optimizer, computed_with)]


def may_train(run: Machine, optimizer: Value, model: Value) -> bool:
    """Whether an optimizer may train a model."""
    return concerns(run, optimizer, [model])


def concerns(run: Machine, optimizer: Value, modules: list[Value] | None) -> bool:
    """Whether an optimizer may train one of these modules."""
    trained = trained_by(run, optimizer)
    if trained is None or modules is None:
        return True
    for some in trained:
        unknown = (other for other in modules if type(some) in _UNKNOWN or type(other) in _UNKNOWN)
        if not all(_apart(run, some, other) for other in unknown):
            return True
    return _inside(modules, trained) or _inside(trained, modules)


_UNKNOWN = (Term, Choice)


def _apart(run: Machine, trained: Value, other: Value) -> bool:
    """Whether two modules are parts of objects of unknown classes, neither of which was ever shown to the other."""
    chain, others = _owned_by(trained), _owned_by(other)
    if not chain or not others or chain[-1] is others[-1]:
        return False
    given = (_owned_by(value)[-1:] for value in chain[-1].inputs)
    handed = run.program.handed
    shown = any(id(part) in handed for part in (*chain, others[-1]))
    return not shown and not any(owner == others[-1:] for owner in given)


def _owned_by(value: Value) -> list[Value]:
    """A value, what it is an attribute of, and so on up to an object of an unknown class; empty without such."""
    chain = [value]
    while type(value) is Term and value.op in ("attribute", "item"):
        chain.append(value := value.inputs[0])
    callee = value.inputs[0] if type(value) is Term and value.op == "call" and value.inputs else None
    return chain if type(callee) is Api and callee.name.rpartition(".")[2][:1].isupper() else []


def covers(run: Machine, optimizer: Value, other: Value) -> bool:
    """Whether everything that `other` trains is also trained by `optimizer`."""
    ours, theirs = trained_by(run, optimizer), trained_by(run, other)
    if ours is None or theirs is None:
        return False
    inside = {id(module) for owner in ours for module in kinds.descendants(owner)}
    return all(id(module) in inside for module in theirs)


def _inside(some: list[Value], others: list[Value]) -> bool:
    """Whether one of some modules is one of the others, or a part of it."""
    wanted = set(map(id, some))
    return any(id(module) in wanted for other in others for module in kinds.descendants(other))


def has_mode_layers(program: Program, model: Value) -> bool | None:
    """Whether a model holds dropout or batch norm; None if it holds something unknown."""
    unknown = type(model) not in (Instance, Lib)
    readers = program.mode_readers
    for module in kinds.descendants(model):
        if type(module) is Lib:
            if acts_by_mode(module):
                return True
        elif type(module) is Term:
            unknown = True
        elif type(module) is Instance and module.cls in readers:
            return True
        elif type(module) is Instance and any(type(v) in (Term, Choice) for v in module.attrs.values()):
            unknown = unknown or any(_may_be_module(v) for v in module.attrs.values())
    return None if unknown else False


def acts_by_mode(layer: Value) -> bool:
    """Whether a layer behaves differently in training and in evaluation."""
    if type(layer) is not Lib:
        return False
    if layer.kind == "model":
        return True
    operation = layer.attrs.get("$operation")
    if operation in ("dropout", "transformer"):
        rate = layer.args.get("p" if operation == "dropout" else "dropout")
        return not (type(rate) is Const and rate.value == 0)
    if operation in ("rnn", "attention"):
        rate = layer.args.get("dropout")
        return type(rate) is Const and rate.value != 0
    return operation == "batchnorm"


def _may_be_module(value: Any) -> bool:
    if type(value) is Choice:
        return any(_may_be_module(leaf) for leaf in leaves(value))
    return type(value) is Term and value.op in ("call", "joined")
