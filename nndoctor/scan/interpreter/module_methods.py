"""Methods that objects have from torch.nn.Module and other library classes."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    calls,
    data,
    layers,
    modes,
    noting,
    sequences,
    subscripts,
    training,
)
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import FALSE, NONE, TRUE, Const, Instance, Value


def instance_method(run: Machine, instance: Instance, name: str, args: Any, node: Any) -> Value:
    """A method that a project object has from a library class."""
    if name == "__init__":
        initialise_base(run, instance, args, node)
        return NONE
    if instance.cls.is_module:
        return module_method(run, instance, name, args, node)
    if name in ("step", "zero_grad") and any(root.startswith("torch.optim") for root in instance.cls.roots):
        return run.term("call", (instance, *args.all), node)
    return calls.unknown_call(run, run.pure("attribute", instance, name), args, node)


def knows_method(instance: Instance, name: str) -> bool:
    """Whether a method that the project does not define comes from a library class we know."""
    return instance.cls.is_module and name in torch_api.MODULE_METHODS


def initialise_base(run: Machine, instance: Instance, args: Any, node: Any) -> None:
    """`super().__init__(...)` that reaches a library class: containers take their children, datasets what they read."""
    for root in instance.cls.roots:
        name = root.rpartition(".")[2]
        if root.startswith("torch.nn.") and name in torch_api.CONTAINERS:
            layers.fill(run, instance, name, args, node)
    data.initialise_dataset(run, instance, args)
    noting.initialised(run, instance)


def module_method(run: Machine, module: Value, name: str, args: Any, node: Any) -> Value:
    """A method of torch.nn.Module."""
    if name in ("train", "eval"):
        modes.set_mode(run, module, FALSE if name == "eval" else args.get(0, "mode") or TRUE, node)
        return module
    if name == "zero_grad":
        return training.reset_model(run, module, node)
    if name in ("parameters", "named_parameters"):
        return run.pure("parameters", module)
    if name in _RETURNS_ITSELF:
        return module
    if name in ("forward", "__call__"):
        return calls.call_value(run, module, args, node)
    return _module_parts(run, module, name, args, node)


_RETURNS_ITSELF = frozenset(
    "to cuda cpu float half double bfloat16 apply requires_grad_ type share_memory xpu compile".split()
)


def _module_parts(run: Machine, module: Value, name: str, args: Any, node: Any) -> Value:
    if name in ("add_module", "register_module") and len(args.positional) > 1:
        _add_module(run, module, args)
        return NONE
    if name in subscripts.CHANGES and module.attrs.get("$items") is not None:
        return subscripts.change_modules(run, module, name, args, node)
    if name in ("children", "modules", "named_children", "named_modules", "items", "values"):
        return run.pure("element", module) if name == "items" else run.term("modules", (module,), node)
    if name.startswith("register_forward"):  # a hook may change what comes out
        run.write(module.attrs, "$hooked", TRUE)
    if name == "register_buffer" and len(args.positional) > 1 and type(args.positional[0]) is Const:
        run.write(module.attrs, args.positional[0].value, args.positional[1])
    return run.term("call", (run.pure("attribute", module, name), *args.all), node)


def _add_module(run: Machine, module: Value, args: Any) -> None:
    name, child = run.resolve(args.positional[0]), args.positional[1]
    if module.attrs.get("$items") is not None and type(module.attrs["$items"]) is tuple:
        sequences.append(run, module, child)
    elif type(name) is Const:
        run.write(module.attrs, name.value, child)
    else:
        run.write(module.attrs, "$rest", child)
