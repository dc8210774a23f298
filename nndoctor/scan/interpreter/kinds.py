"""What an unknown value is taken for by its name, and the parts that objects hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.scan.interpreter import (
    states,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    Api,
    Choice,
    Const,
    Container,
    Instance,
    Lib,
    Term,
    Tuple,
    Value,
    leaves,
)

_OPTIMIZER_NAME = re.compile(
    r"(^|_)(opt|optim|optimi[sz]er|solver)s?(_|\d|$)|optimi[sz]er$|^opt[A-Z]|_optim$", re.IGNORECASE
)


_NOT_OPTIMIZER = re.compile(r"sched|scaler|args|config|option|param", re.IGNORECASE)


_MODEL_NAME = re.compile(
    r"(^|_)(model|net|network|encoder|decoder|generator|discriminator|critic|actor|policy|backbone|classifier)\d*(_|$)|net$|^(netG|netD|G|D)$|model$",
    re.IGNORECASE,
)


def name_of(value: Value) -> str:
    """The name an unknown value goes by: a parameter, an attribute or a global."""
    if type(value) is not Term:
        return ""
    if value.op == "parameter" and value.info is not None:
        return str(value.info["name"])
    if value.op in ("attribute", "name", "import") and value.inputs and isinstance(value.inputs[-1], str):
        return value.inputs[-1].rpartition(".")[2]
    return ""


def callee(value: Value) -> Value:
    """What a call that could not be followed called, or its first argument where that is not kept; None if neither."""
    return value.inputs[0] if type(value) is Term and value.op == "call" and value.inputs else None


_OPTIMIZER_MAKER = re.compile(
    r"^(build|make|get|create|configure|setup|init|prepare)_(\w+_)?optim(izers?)?$|^(build|make|get|create)Optimi[sz]er$"
)


def is_optimizer(value: Value) -> bool:
    """Whether a value is an optimizer, or an unknown one that is called so, or whose maker is."""
    if type(value) is Lib:
        return value.kind == "optimizer"
    name = name_of(value)
    if not name:
        return bool(_OPTIMIZER_MAKER.search(_maker_of(value)))
    return bool(_OPTIMIZER_NAME.search(name)) and not _NOT_OPTIMIZER.search(name)


def _maker_of(value: Value) -> str:
    """The name of the function that cannot be followed and gave an unknown value, alone or before others."""
    if type(value) is not Term or not value.inputs:
        return ""
    made = value.inputs[0]
    if value.op == "part" and type(value.inputs[1]) is Const and value.inputs[1].value == 0:
        return _maker_of(made)
    if value.op != "call":
        return ""
    return made.name.rpartition(".")[2] if type(made) is Api else name_of(made)


def is_module(value: Value) -> bool:
    """Whether a value is an object of a module class of the project."""
    return type(value) is Instance and value.cls.is_module


def is_model(value: Value) -> bool:
    """Whether a value is a module, or an unknown one that is called like a model."""
    if type(value) is Instance:
        return value.cls.is_module
    if type(value) is Lib:
        return value.kind in ("layer", "container", "model")
    if type(value) is Term and value.attrs is not None and states.MODE in value.attrs:
        return True
    return bool(_MODEL_NAME.search(name_of(value)))


def optimizers_in(run: Machine, value: Value, depth: int = 2) -> Iterator[Value]:
    """The optimizers that a value is or holds."""
    for leaf in run.leaves(value):
        if is_optimizer(leaf):
            yield leaf
        elif depth and type(leaf) in (Tuple, Container):
            for item in held(leaf):
                yield from optimizers_in(run, item, depth - 1)
        elif depth and type(leaf) is Instance and not leaf.cls.is_module:
            for item in list(leaf.attrs.values()):
                yield from optimizers_in(run, item, depth - 1)


def held(value: Value) -> tuple[Value, ...]:
    """The known items of a tuple, list or dict."""
    if type(value) is Tuple:
        return value.items
    items = value.attrs["$items"]
    rest = () if value.attrs.get("$rest") is None else (value.attrs["$rest"],)
    return (*(items.values() if type(items) is dict else items), *rest)


def children(module: Value) -> Iterator[Value]:
    """The modules directly inside a module."""
    attrs = getattr(module, "attrs", None) or {}
    for key, value in list(attrs.items()):
        if key == "$items":
            for item in value.values() if type(value) is dict else value:
                yield from leaves(item)
        elif type(value) is Choice or (key == "$rest" and value is not None):
            yield from (leaf for leaf in leaves(value) if is_model(leaf))
        elif type(value) in (Instance, Lib) and is_model(value):
            yield value


def descendants(module: Value, depth: int = 8) -> Iterator[Value]:
    """A module and all modules inside it, each once."""
    stack, seen = [(module, depth)], set()
    while stack:
        current, left = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if left and type(current) in (Instance, Lib):
            stack += [(child, left - 1) for child in reversed(list(children(current)))]
