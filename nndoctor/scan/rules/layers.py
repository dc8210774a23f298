"""Layers and their neighbours: batch norm, dropout, and how they are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead
from nndoctor.scan.rules.wording import place
from nndoctor.scan.values import Const, Lib, Site, Term, Value
from nndoctor.thresholds import Threshold

LEAST_MOMENTUM = Threshold(
    "ND405", "least-momentum", 0.05, "The usual eps is 1e-5 to 1e-2; from here on the number was meant as a momentum."
)
# Dropout behind the last batch norm of a net, before its head, is sound; such heads pool and flatten first.
_BETWEEN = {
    "ND402": torch_api.ACTIVATION_OPS,
    "ND403": torch_api.ACTIVATION_OPS
    | {"pool", "adaptive_pool", "flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous"},
}


@rule("ND405")
def batchnorm_eps_as_momentum(program: Program) -> Iterator[Draft]:
    for event in program.of("layer"):
        positional = event.details["args"].positional
        if event.details["operation"] != "batchnorm" or len(positional) < 2:
            continue
        eps = positional[1]
        if (
            type(eps) is Const
            and isinstance(eps.value, int | float)
            and not isinstance(eps.value, bool)
            and eps.value >= LEAST_MOMENTUM.value
        ):
            message = f"{event.subject.name} is given {eps.value} as its second argument, which is eps"
            yield Draft("ND405", event.site, message, repair=_named_momentum(event, eps.value))


def _named_momentum(event: Event, keras: float) -> Repair | None:
    """The momentum by its name; Keras's is the share of the old statistics, torch's that of the new ones."""
    node: Any = event.site.node
    if type(node) is not cst.Call or len(node.args) < 2 or keras > 1:
        return None
    text = f"momentum={round(1 - keras, 6):g}"
    return instead(Site(event.site.source, node.args[1].value), text, f"write `{text}`")


@rule("ND402", "ND403")
def dropout_beside_batchnorm(program: Program) -> Iterator[Draft]:
    for event in program.of("apply", "functional dropout"):
        operation = event.details.get("operation", "dropout")
        source = event.details.get("input", event.subject)
        if operation == "batchnorm":
            yield from _pair(event, "ND403", "batch norm", source, "dropout")
        elif operation == "dropout" and not _is_off(event):
            yield from _pair(event, "ND402", "dropout", source, "batchnorm")


def _pair(event: Event, code: str, second: str, source: Value, first: str) -> Iterator[Draft]:
    options = event.tensors(source)
    found = [_fed_by(option, first, _BETWEEN[code]) for option in options]
    hits = [term for term in found if term is not None]
    if not hits or len(hits) < len(options):
        return
    made = hits[0]
    words = "dropout" if first == "dropout" else "batch norm"
    message = f"{second} is fed by {words} ({place(made)})"
    site = made.site
    evidence = ((site, f"{words} here"),) if site is not None else ()
    yield Draft(code, event.site, message, evidence, Confidence.CERTAIN)


def _fed_by(value: Value, operation: str, between: frozenset[str] | set[str]) -> Term | None:
    """The layer of that kind that feeds a value, directly or through activations and changes of shape."""
    while type(value) is Term:
        if value.op == operation:
            return None if operation == "dropout" and _rate_is_zero(value) else value
        if value.op not in between or not value.inputs:
            return None
        value = value.inputs[0]
    return None


def _rate_is_zero(term: Term) -> bool:
    info = term.info or {}
    layer, args = info.get("layer"), info.get("args")
    rate = layer.args.get("p") if type(layer) is Lib else args.get(1, "p") if args is not None else None
    return type(rate) is Const and rate.value == 0


def _is_off(event: Event) -> bool:
    rate = event.subject.args.get("p") if type(event.subject) is Lib else None
    return type(rate) is Const and rate.value == 0
