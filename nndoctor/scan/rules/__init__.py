"""The rules of the static pass, one module a family; importing the package registers them all."""

from nndoctor.scan.rules import layers, losses, modes, shapes, steps
from nndoctor.scan.rules.registry import RULES, Draft, codes, rule

__all__ = ["RULES", "Draft", "codes", "layers", "losses", "modes", "rule", "shapes", "steps"]
