"""Models of torchvision, timm and their kin: what they give, and the heads that users put into them."""

from __future__ import annotations

from typing import Any

from nndoctor.scan.interpreter import calls
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import RAW, TRUE, Const, Lib, Term, Value

_HEADS = ("fc", "classifier", "head", "last_linear", "_fc", "heads")  # where torchvision, timm and others keep it
_CHANGED = "$changed"


def output(run: Machine, model: Lib, args: Any, node: Any) -> Value:
    """The logits of a library model, or what a head gives that the user has put in."""
    own = next((model.attrs[name] for name in _HEADS if name in model.attrs), None)
    if own is None:
        if _is_changed(run, model):
            return run.term("call", (model, *args.all), node)
        return run.term("logits", args.all, node, RAW, {"layer": model})
    features = run.term("features", args.all, node, None, {"layer": model})
    run.in_forward += 1
    result = calls.call_value(run, own, calls.Arguments((features,)), node)
    run.in_forward -= 1
    return result


def _is_changed(run: Machine, model: Lib) -> bool:
    """Whether the model may end in an activation, by an option or by what was put into it."""
    activation = run.resolve(model.args.get("activation", Const(None)))
    return run.read(model.attrs, _CHANGED) is not None or type(activation) is not Const or activation.value is not None


def change_part(run: Machine, part: Term, value: Value) -> None:
    """`model.classifier[6] = value`, `model.heads.head = value`: a linear layer gives logits, anything else may not."""
    value = run.resolve(value)
    if type(value) is Lib and value.attrs.get("$operation") == "linear":
        return
    holder: Value = part
    while type(holder) is Term and holder.op in ("attribute", "item", "element") and holder.inputs:
        holder = run.resolve(holder.inputs[0])
    if type(holder) is Lib and holder.kind == "model":
        run.write(holder.attrs, _CHANGED, TRUE)
