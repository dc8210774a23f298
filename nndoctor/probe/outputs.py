"""What a model returned: which tensor is the prediction, and which is a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nndoctor.probe.batch import children, leaves
from nndoctor.probe.errors import NotApplicableError

# In this order: a name that libraries and users give to the prediction among several outputs.
PREDICTION_NAMES = ("logits", "prediction_logits", "predictions", "prediction", "preds", "pred", "outputs", "output",
                    "out", "reconstruction", "recon", "x_hat", "last_hidden_state")  # fmt: skip


def main_tensor(outputs: Any) -> Tensor:
    """Logits, predictions or reconstruction; raises NotApplicableError if no floating-point tensor is returned."""
    candidates = {path: tensor for path, tensor in leaves(outputs) if _is_prediction(tensor)}
    if not candidates:
        raise NotApplicableError("the model returns no floating-point tensor with a batch dimension")
    for name in PREDICTION_NAMES:
        if name in candidates:
            return candidates[name]
    return next(iter(candidates.values()))


def _is_prediction(tensor: Tensor) -> bool:
    return tensor.ndim > 0 and tensor.is_floating_point()


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


def _is_loss(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.ndim <= 1 and value.is_floating_point()
