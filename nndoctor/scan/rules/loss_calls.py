"""Layers and losses that are constructed where they should be called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import LOSS, Term, Value

_LOSSES = tuple(f"torch.nn.{name}" for name in torch_api.LOSSES if name[0].isupper())
_LAYERS = tuple(f"torch.nn.{name}" for name in torch_api.LAYERS)
_WITHOUT_OPTIONS = frozenset({"Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Tanhshrink"})


@rule("ND120")
def constructor_called_with_tensors(program: Program) -> Iterator[Draft]:
    for event in program.calls(*_LOSSES):
        if _is_given_batch(event):
            yield _draft(event, "a loss with these as its options, and computes none", "(input, target)")
    for event in program.calls(*_LAYERS):
        if _is_given_tensor(event):
            yield _draft(event, "a layer with the tensor as its option, and applies none", "(input)")


def _is_given_batch(event: Event) -> bool:
    """Whether a loss is made from an output and a target; class weights alone may be a tensor, flags may follow."""
    args: Any = event.details["args"]
    first, second = args.get(0, "input"), args.get(1, "target")
    if first is None or second is None:
        return False
    return all(map(_is_output, event.options(first))) and all(type(v) is Term for v in event.options(second))


def _is_given_tensor(event: Event) -> bool:
    given = event.details["args"].positional
    if not given:
        return False
    options = event.options(given[0])
    if event.details["name"].rpartition(".")[2] in _WITHOUT_OPTIONS:
        return all(type(option) is Term and option.op != "spread" for option in options)
    return all(map(_is_output, options))


def _is_output(value: Value) -> bool:
    """Whether a tensor is what a layer or a model gives."""
    if type(value) is not Term or value.act == LOSS:
        return False
    return value.act is not None or any(term.op == "forward" for term in wording.way(value))


def _draft(event: Event, what: str, arguments: str) -> Draft:
    name = event.details["name"].rpartition(".")[2]
    message = f"`{wording.text(event.site)}` makes {what}"
    treatment = f"Make it and then call it, `{name}(){arguments}`, or use the function of torch.nn.functional."
    return Draft("ND120", event.site, message, treatment=treatment)
