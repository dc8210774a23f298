"""What a model returned: which tensor is the prediction, which is a loss, and whether values are probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from nndoctor.probe.batch import children, leaves
from nndoctor.probe.errors import NotApplicableError

# In this order: names that libraries and users give to the prediction among several outputs.
PREDICTION_NAMES = (
    *("logits", "prediction_logits", "predictions", "prediction", "preds", "pred", "outputs", "output", "out"),
    *("reconstruction", "recon", "x_hat", "last_hidden_state"),
)
# Rows of a softmax in half precision miss one by this much.
ROW_SUM_TOLERANCE = 1e-2
# Operations that move values without changing them.
MOVES = ("View", "Reshape", "Squeeze", "Select", "Slice", "Permute", "Transpose", "Index", "ToCopy", "Clone", "Alias")
UNIT_INTERVAL = ("Sigmoid", "Softmax", "Clamp", "Hardsigmoid")


def main_tensor(outputs: Any) -> Tensor:
    """Logits, predictions or reconstruction; raises NotApplicableError if no floating-point tensor is returned."""
    candidates = {path: tensor for path, tensor in leaves(outputs) if tensor.ndim and tensor.is_floating_point()}
    if not candidates:
        raise NotApplicableError("the model returns no floating-point tensor with a batch dimension")
    for name in PREDICTION_NAMES:
        if name in candidates:
            return candidates[name]
    return next(iter(candidates.values()))


def own_loss(outputs: Any) -> Tensor | None:
    """The loss among the outputs: `.loss`, a scalar in a tuple, a scalar alone, or a dictionary of losses to sum."""
    parts = children(outputs)
    if parts is None:
        return outputs if _is_loss(outputs) else None
    named = dict(parts)
    if _is_loss(named.get("loss")):
        return named["loss"]  # type: ignore[no-any-return]
    scalars = [value for _, value in parts if _is_loss(value)]
    if isinstance(outputs, Mapping):
        summable = scalars and len(scalars) == len(parts) and all("loss" in name for name in named)
        return sum(scalars[1:], scalars[0]) if summable else None
    return scalars[0] if len(scalars) == 1 else None


def as_scalar(value: Any) -> Tensor:
    """The loss as one number; a loss that comes with figures to log is found among them, one per example averaged."""
    loss = value if isinstance(value, Tensor) else own_loss(value)
    if loss is None and children(value):
        loss = next((tensor for _, tensor in leaves(value) if tensor.ndim == 0 and tensor.requires_grad), None)
    if loss is None:
        hint = ", which has no gradient: return it without .item()" if isinstance(value, float) else ""
        raise TypeError(f"the loss is no tensor but {type(value).__name__}{hint}")
    return loss.mean() if loss.ndim else loss


def _is_loss(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()


def are_probabilities(tensor: Tensor, dim: int) -> bool:
    """Whether all values are at least 0 and sum to 1 along `dim`."""
    sums = tensor.detach().float().sum(dim)
    return bool((tensor >= 0).all()) and bool(((sums - 1).abs() < ROW_SUM_TOLERANCE).all())


def are_logarithms(tensor: Tensor, dim: int) -> bool:
    """Whether the values are logarithms of probabilities along `dim`."""
    return bool((tensor <= 0).all()) and are_probabilities(tensor.detach().float().exp(), dim)


def lies_in_unit_interval(output: Tensor) -> bool:
    """Whether the outputs come from an operation that keeps them between 0 and 1, and lie there.

    Values alone prove nothing: the outputs of an untrained linear layer may all happen to lie between 0 and 1.
    """
    inside = bool(((output >= 0) & (output <= 1)).all())
    return inside and last_operation(output).startswith(UNIT_INTERVAL)


def last_operation(output: Tensor) -> str:
    """The autograd name of the operation that gave the values, for instance `SoftmaxBackward0`; empty without graph."""
    node = last_node(output)
    return node.name() if node else ""


def last_node(output: Tensor) -> Node | None:
    """The node of that operation, behind those that only move values."""
    node = output.grad_fn
    while node is not None and node.name().startswith(("Unsafe", *MOVES)) and node.next_functions:
        node = node.next_functions[0][0]
    return node
