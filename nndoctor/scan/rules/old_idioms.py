"""Ways of calling torch that it has given up, or that pass by what a call does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import LOSS, Choice, Const, Instance, Lib, Site, Term, Value

_NO_GRAD = "Wrap the evaluation in `with torch.no_grad():` and pass the tensor itself."


@rule("ND311")
def deprecated_autograd(program: Program) -> Iterator[Draft]:
    for event in program.calls("torch.autograd.Variable"):
        flag = event.details["args"].keywords.get("volatile")
        text = wording.text(event.site)
        if type(flag) is Const and flag.value:
            message = f"`{text}`: volatile has no effect since torch 0.4, so the graph is built"
            yield Draft("ND311", event.site, message, treatment=_NO_GRAD)
        else:
            message = f"`{text}`: Variable does nothing since torch 0.4"
            yield Draft("ND311", event.site, message, severity=Severity.INFO)
    if any(".data[0]" in source.text for source in program.sources):
        yield from _first_of_scalar(program)


def _first_of_scalar(program: Program) -> Iterator[Draft]:
    """`loss.data[0]`: the loss has no dimension any more."""
    started = (event for event in program.of("backward") if not event.details["args"].all)
    scalars = {id(leaf) for event in started for leaf in event.tensors(event.subject)}
    for term in program.terms:
        if term.op not in ("index", "item") or len(term.inputs) != 2 or (site := term.site) is None:
            continue
        data, place = term.inputs
        if type(data) is not Term or data.op != "data" or type(place) is not Const or place.value != 0:
            continue
        if id(data.inputs[0]) in scalars or _is_reduced(data.inputs[0]):
            message = f"`{wording.text(site)}` fails since torch 0.4: the tensor has no dimension"
            name = wording.text(site).removesuffix(".data[0]")
            yield Draft("ND311", site, message, treatment=f"Write `{name}.item()`.")


def _is_reduced(made: Value) -> bool:
    """Whether a tensor is a loss that was reduced to one number."""
    if type(made) is not Term or made.act != LOSS or made.op != "loss":
        return False
    options: dict[str, Any] = (made.info or {}).get("options") or {}
    return {"reduction", "reduce"}.isdisjoint(options)


@rule("ND417")
def forward_called_directly(program: Program) -> Iterator[Draft]:
    for event in program.methods("forward"):
        model = event.subject
        if not kinds.is_model(model) or type(model) is Choice or _is_own(event, model):
            continue
        text = _receiver(event.site)
        hooked = type(model) in (Instance, Lib) and model.attrs.get("$hooked") is not None
        message = f"`{text}.forward(...)` runs none of the module's hooks"
        confidence = Confidence.CERTAIN if hooked else Confidence.POSSIBLE
        yield Draft("ND417", event.site, message, confidence=confidence, treatment=f"Write `{text}(...)`.")


def _is_own(event: Event, model: Value) -> bool:
    """Whether a module calls its own forward, as `__call__` and wrappers do, or that of its base class."""
    return any(frame.receiver is model for frame in event.frames) or (type(model) is Term and model.op == "super")


def _receiver(call: Site) -> str:
    node: Any = call.node
    func = node.func if type(node) is cst.Call else node
    return wording.text(Site(call.source, func.value if type(func) is cst.Attribute else func))
