"""Notes for rules about modules: the parts they get, what their forward returns, and results that nobody takes."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import TRUE, Api, Const, Container, Function, Instance, Lib, Method, Term, Tuple, Value

PARAMETER = "Parameter"  # the operation of `nn.Parameter(...)`
INITIALISED = "$initialised"  # set on a module once the constructor of its library class has run
_HOLDERS = frozenset({Lib, Instance, Container, Tuple})


def part(run: Machine, owner: Value, name: str, value: Value, node: Any) -> None:
    """Note that a module was given an attribute that is a module, or may hold some."""
    if kinds.is_module(owner) and any(type(leaf) in _HOLDERS for leaf in run.leaves(value)):
        ready = run.read(owner.attrs, INITIALISED) is not None
        run.note("part", node, owner, name=name, value=value, ready=ready)


def stored(run: Machine, holder: Value, value: Value, node: Any) -> None:
    """Note that a module was put into a list, dict or module list, under whatever key."""
    if any(type(leaf) in (Lib, Instance) and kinds.is_model(leaf) for leaf in run.leaves(value)):
        run.note("stored", node, holder, value=value)


def overwritten(run: Machine, tensor: Term, value: Value, node: Any) -> None:
    """Note that elements of a tensor were set to a number: `labels[labels == pad] = -100`."""
    if type(value) is Const:
        run.note("overwritten", node, tensor, value=value)


def initialised(run: Machine, module: Value) -> None:
    """The constructor of a module's library class has run, or may have."""
    if type(module) is Instance:
        run.write(module.attrs, INITIALISED, TRUE)


def tensor(run: Machine, owner: Value, name: str, value: Value, node: Any) -> None:
    """Note that a module was given a tensor that is meant to be trained, or was computed from a new parameter."""
    if type(value) is Term and kinds.is_module(owner) and (_requires_grad(value) or _comes_of_parameter(value)):
        run.note("trainable tensor", node, owner, name=name, value=value)


def _requires_grad(term: Term) -> bool:
    """Whether `requires_grad` was asked for where the tensor was made; it may be on another device since."""
    while term.op in torch_api.CASTS and type(term.inputs[0]) is Term:
        term = term.inputs[0]
    if term.op == "requires_grad_":
        source = term.inputs[0]
        while type(source) is Term and source.op in ("*", "/", "+", "-"):
            source = source.inputs[0]
        return type(source) is Term and source.op in _FACTORIES
    args = (term.info or {}).get("args")
    flag = args.keywords.get("requires_grad") if args is not None and term.op in _FACTORIES else None
    return type(flag) is Const and flag.value is True


def _comes_of_parameter(term: Term) -> bool:
    """Whether a tensor was computed from a parameter; a method that changes the parameter in place returns it."""
    recorded = not (type(term.grad) is Const and term.grad.value is False)
    return recorded and term.op in _COMPUTED and is_trainable(term.inputs[0] if term.inputs else None)


def is_trainable(value: Value) -> bool:
    """Whether a value is `nn.Parameter(data)`, and not one that is frozen where it is made."""
    if type(value) is not Term or value.op != PARAMETER or value.info is None:
        return False
    flag = value.info["args"].get(1, "requires_grad")
    return flag is None or (type(flag) is Const and flag.value is True)


_COMPUTED = torch_api.CASTS | frozenset("* / + - t transpose transposed permute view reshape unsqueeze clone".split())


_FACTORIES = frozenset(
    """tensor zeros ones rand randn empty full eye arange linspace zeros_like ones_like rand_like randn_like
    FloatTensor Tensor normal""".split()
)


def made(run: Machine, instance: Instance, node: Any) -> None:
    """Note that an object of a module class of the project was made."""
    if instance.cls.is_module:
        run.note("made", node, instance)


def output(run: Machine, function: Function, value: Value, returns: bool, falls_off: bool) -> None:
    """Note what the forward of a module gave, and whether paths end with a `return` and at the end of its body."""
    if function.name == "forward" and kinds.is_module(function.receiver):
        told = {"result": value, "returns": returns, "falls_off": falls_off, "names": dict(run.frame.scope.names)}
        run.note("output", function.node, function.receiver, **told)


def in_place(run: Machine, tensor: Value, result: Value, node: Any) -> None:
    """Note that an operation wrote its result over the tensor that it was given."""
    if type(tensor) is Term and type(result) is Term:
        run.note("in place", node, tensor, result=result)


def dropped(run: Machine, node: cst.BaseExpression, value: Value) -> None:
    """Note a statement that is but an expression, if it may have been meant to change something."""
    kind = type(value)
    if type(node) is cst.Attribute:
        if kind is Method or kind is Function or kind is Api or (kind is Term and value.op == "attribute"):
            run.note("dropped", node, value, name=node.attr.value)
    elif type(node) is cst.Call and kind is Term and value.op in torch_api.WITHOUT_EFFECT and value.node is node:
        run.note("dropped", node, value, name=value.op)
