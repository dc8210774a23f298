"""The rules of the static pass, one module a family; importing the package registers them all."""

from nndoctor.scan.rules import (
    amp,
    attention,
    averages,
    layers,
    loss_graph,
    losses,
    modes,
    optimizers,
    parameters,
    shapes,
    steps,
)
from nndoctor.scan.rules.registry import RULES, Draft, codes, rule

__all__ = [
    "RULES",
    "Draft",
    "amp",
    "attention",
    "averages",
    "codes",
    "layers",
    "loss_graph",
    "losses",
    "modes",
    "optimizers",
    "parameters",
    "rule",
    "shapes",
    "steps",
]
