"""The rules of the static pass, one module a family; importing the package registers them all."""

from nndoctor.scan.rules import attention, layers, loss_graph, losses, modes, shapes, steps
from nndoctor.scan.rules.registry import RULES, Draft, codes, rule

__all__ = ["Draft", "RULES", "attention", "codes", "layers", "loss_graph", "losses", "modes", "rule", "shapes", "steps"]
