"""The rules of the static pass, one module a family; importing the package imports and so registers them all."""

from importlib import import_module
from pkgutil import iter_modules

from nndoctor.scan.rules.registry import RULES, Draft, codes, rule

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["RULES", "Draft", "codes", "rule"]
