"""Optimizers as they are made: their rates and penalties; and the old name of clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.numbers import Number, number
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead
from nndoctor.scan.values import FALSE, Const, Lib, Site, Term, Value
from nndoctor.thresholds import Threshold

_ADAMS = frozenset("Adam AdamW Adamax NAdam RAdam AdamP Adam8bit AdamW8bit PagedAdamW8bit FusedAdam".split())
# Their step is not proportional to the rate alone, so that a rate of 1 is usual.
_SCALE_THEMSELVES = frozenset("Adadelta ASGD LBFGS Rprop Adafactor Prodigy Optimizer Muon".split())
ADAM_TOO_HIGH = Threshold(
    "ND214",
    "adam-too-high",
    0.05,
    "Adam moves each weight by about the rate at each step, and the weights of a layer of width n start at about "
    "n ** -0.5: from 0.05 on a few steps replace those of a wide layer. Narrow nets and single layers bear it.",
)
SGD_UNUSUAL = Threshold("ND214", "sgd-unusual", 10.0, "Language models with averaged SGD start at 20 or 30.")
SGD_TOO_HIGH = Threshold("ND214", "sgd-too-high", 100.0, "Nothing that trains starts there.")
TOO_LOW = Threshold(
    "ND214", "too-low", 1e-7, "Weights are float32 numbers near 0.01 to 1, whose spacing is about 1e-9 to 1e-7."
)
MEANT_NEGATIVE = 1000  # from here on the sign of the exponent was forgotten


@rule("ND214")
def suspicious_learning_rate(program: Program) -> Iterator[Draft]:
    for event in program.of("optimizer"):
        rate = number(event.subject.args.get("lr"))
        if rate is None or rate.value <= 0 or _is_replaced(program, event.subject):
            continue
        found = _verdict(event, rate.value)
        if found is not None:
            yield _suspicious(event, rate, *found)


def _is_replaced(program: Program, optimizer: Lib) -> bool:
    """Whether something may set another rate, or multiply it by a function of its own."""
    if id(optimizer) in program.handed or any(
        "lr_scheduler" in root for cls in program.instances for root in cls.roots
    ):
        return True
    for event in program.of("scheduler"):
        if event.subject.args.get("optimizer") is optimizer and event.subject.name in _REPLACE:
            return True
    for event in program.of("rate"):
        owners = [part for term in graph.ancestors(event.subject, through_cuts=True) for part in term.inputs]
        known = [part for part in owners if type(part) is Lib and part.kind == "optimizer"]
        if not known or any(part is optimizer for part in known):
            return True
    return False


_REPLACE = frozenset({"LambdaLR", "MultiplicativeLR", "OneCycleLR", "CyclicLR"})


def _verdict(event: Event, rate: float) -> tuple[str, Confidence] | None:
    """What is wrong with a rate, and how surely."""
    name = event.subject.name
    if rate <= TOO_LOW.value:
        return "so small that the weights hardly move", Confidence.CERTAIN
    if name in _SCALE_THEMSELVES:
        return None
    if name in _ADAMS:
        sure = _trust_in_width(event.details["trained"], rate) if rate >= ADAM_TOO_HIGH.value else None
        moved = "so large that a few steps replace the weights: Adam moves each of them by about the rate"
        return (moved, sure) if sure is not None else None
    sure = Confidence.CERTAIN if rate >= SGD_TOO_HIGH.value else Confidence.POSSIBLE
    return ("so large that the loss will diverge", sure) if rate >= SGD_UNUSUAL.value else None


def _trust_in_width(modules: list[Value] | None, rate: float) -> Confidence | None:
    """How surely a network is trained whose weights are smaller than the rate; None for one layer, or no module."""
    found = {id(m): m for module in modules or () for m in kinds.descendants(module)}
    layers = [m for m in found.values() if type(m) is Lib]
    if any(layer.kind == "model" for layer in layers):
        return Confidence.CERTAIN
    weighted = [layer for layer in layers if layer.attrs.get("$operation") in _INPUTS]
    widths = [number(layer.args.get(_INPUTS[layer.attrs["$operation"]])) for layer in weighted]
    if len(weighted) >= 2 and any(width is not None and rate * math.sqrt(width.value) >= 1 for width in widths):
        return Confidence.CERTAIN
    return Confidence.POSSIBLE if None in widths or any(type(m) is Term for m in found.values()) else None


# The number of inputs of each unit, without the extent of a kernel.
_INPUTS = {
    "linear": "in_features",
    "conv": "in_channels",
    "rnn": "hidden_size",
    "attention": "embed_dim",
    "transformer": "d_model",
}


def _suspicious(event: Event, rate: Number, verdict: str, confidence: Confidence) -> Draft:
    if rate.is_default and confidence is Confidence.CERTAIN:
        confidence = Confidence.LIKELY
    given = f"{rate.value:g} by default" if rate.is_default else f"{rate.value:g}"
    message = f"the learning rate of {event.subject.name} is {given}, {verdict}"
    treatment = None
    if rate.value >= MEANT_NEGATIVE:
        power = math.floor(math.log10(rate.value))
        treatment = f"Write `lr={rate.value / 10**power:g}e-{power}`: the exponent lost its sign."
    return Draft("ND214", event.site, message, (), confidence, treatment=treatment)


@rule("ND216")
def deprecated_clip_grad_norm(program: Program) -> Iterator[Draft]:
    for event in program.calls("torch.nn.utils.clip_grad_norm"):
        message = f"`{wording.text(event.site)}` is the old name of `clip_grad_norm_`"
        yield Draft("ND216", event.site, message, repair=_with_underscore(event))


def _with_underscore(event: Event) -> Repair | None:
    """The new name; where an import binds the old one, the import would have to change too."""
    func: Any = getattr(event.site.node, "func", None)
    if type(func) is not cst.Attribute:
        return None
    return instead(Site(event.site.source, func.attr), "clip_grad_norm_", "write `clip_grad_norm_`")


@rule("ND217")
def decoupled_weight_decay(program: Program) -> Iterator[Draft]:
    for event in program.of("optimizer"):
        args = event.details["args"]
        decay = number(args.get(4, "weight_decay"))
        decoupled = args.keywords.get("decoupled_weight_decay", FALSE)
        is_adam = event.subject.api == "torch.optim.Adam" and type(decoupled) is Const and not decoupled.value
        if is_adam and decay is not None and decay.value > 0:
            message = f"Adam adds the decay of {decay.value:g} to the gradient, which it then divides by its own size"
            yield Draft("ND217", event.site, message)
