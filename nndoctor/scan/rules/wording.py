"""Words and paths of findings: the user's own names, and where a value came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.values import Const, Function, Lib, Site, Term, Value

MAX_TEXT = 48  # a longer expression is cut in a message
_EMPTY = cst.Module([])


def text(site: Site) -> str:
    """The source of an expression on one line, cut if it is long."""
    code = " ".join(_EMPTY.code_for_node(site.node).split())
    return code if len(code) <= MAX_TEXT else code[: MAX_TEXT - 3] + "..."


def code(site: Site) -> str:
    """The source of an expression as it stands there, without parentheses around it."""
    node: Any = site.node
    return _EMPTY.code_for_node(node.with_changes(lpar=(), rpar=()) if getattr(node, "lpar", ()) else node)


def argument_site(call: Site) -> Site:
    """The first argument of a call if it stands on the line of the call, else the call."""
    node: Any = call.node
    if type(node) is not cst.Call or not node.args:
        return call
    named = next((a for a in node.args if a.keyword is not None and a.keyword.value == "input"), node.args[0])
    site = Site(call.source, named.value)
    return site if call.source.location(named.value).line == call.source.location(node).line else call


def way(term: Term) -> Iterator[Term]:
    """A tensor and what it was made from, back to the operation whose activation it still shows."""
    yield term
    while term.inputs and (term.op in torch_api.TRANSPARENT or term.op in ("dropout", "clamp")):
        source = _carrier(term.inputs[0], term.act)
        if source is None:
            break
        term = source
        yield term


def origin(term: Term) -> Term:
    """The operation whose activation the term still shows."""
    for step in way(term):
        term = step
    return term


def _carrier(value: Value, act: str | None) -> Term | None:
    if type(value) is Term:
        return value if value.act == act or value.op in ("chunk", "split", "unbind") else None
    items = getattr(value, "items", None) or (getattr(value, "attrs", None) or {}).get("$items") or ()
    return next((i for i in items if type(i) is Term and i.act == act), None) if type(items) is tuple else None


_NAMES = {
    "softmax": "a softmax",
    "log_softmax": "a log-softmax",
    "sigmoid": "a sigmoid",
    "relu": "a ReLU",
    "tanh": "a tanh",
    "log": "a logarithm",
    "linear": "the output of a linear layer",
    "conv": "the output of a convolution",
    "batchnorm": "the output of a batch norm",
    "logits": "raw logits",
    "hardsigmoid": "a hard sigmoid",
    "hardtanh": "a hard tanh",
}


def describe(term: Term) -> str:
    """What an operation gives, in words."""
    words = _NAMES.get(term.op, f"a {term.op}")
    dim = _dim(term)
    return f"{words} over dim {dim}" if term.op in ("softmax", "log_softmax") and dim is not None else words


def _dim(term: Term) -> object:
    layer = (term.info or {}).get("layer")
    value: Value = layer.args.get("dim") if type(layer) is Lib else None
    args = (term.info or {}).get("args")
    if value is None and args is not None:
        value = args.get(1, "dim")
    return value.value if type(value) is Const else None


def place(term: Term) -> str:
    """`file:line` of an operation."""
    site = term.site
    if site is None:
        return "elsewhere"
    location = site.source.location(site.node)
    cell = f"cell {location.cell}:" if location.cell is not None else ""
    return f"{location.path}:{cell}{location.line}"


def path(term: Term) -> tuple[tuple[Site, str], ...]:
    """The way of a value from the operation that made it to where it is used."""
    steps: list[tuple[Site, str]] = []
    current = term
    made = origin(term)
    while current is not made and current.inputs:
        if current.op in ("forward", "returned") and (site := current.site) is not None:
            steps.append((site, _hop(current)))
        following = _carrier(current.inputs[0], current.act)
        if following is None:
            break
        current = following
    if (site := made.site) is not None:
        steps.append((site, f"{made.op.replace('_', '-')} here"))
    return tuple(_distinct(reversed(steps)))


def made_at(term: Term) -> tuple[tuple[Site, str], ...]:
    """Where a tensor was computed."""
    site = term.site
    return ((site, "computed here"),) if site is not None else ()


def _hop(term: Term) -> str:
    function = (term.info or {}).get("function")
    return f"returned by {function.name} here" if type(function) is Function else "returned by the model here"


def _distinct(steps: Any) -> list[tuple[Site, str]]:
    kept: dict[int, tuple[Site, str]] = {}
    for site, words in steps:
        kept[id(site.node)] = (site, words)
    return list(kept.values())
