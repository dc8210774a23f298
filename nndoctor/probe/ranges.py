"""The range that a model's outputs are confined to, and how free numbers are brought into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.probe.outputs import are_logarithms, are_probabilities, last_operation


@dataclass(frozen=True, slots=True)
class OutputRange:
    """`link` maps any real numbers onto values that the outputs can have."""

    name: str  # as a reader calls the last operation, empty for unconfined outputs
    link: Callable[[Tensor], Tensor]


SOFTMAX = "softmax"
RELU = "ReLU"
FREE = OutputRange("", lambda free: free)


def output_range(output: Tensor, class_dim: int = -1) -> OutputRange:
    """What confines the outputs, judged by their values and by the operation that gave them; keep the graph."""
    operation = last_operation(output)
    if output.ndim > 1 and output.shape[class_dim] > 1:
        if are_probabilities(output, class_dim):
            return OutputRange(SOFTMAX, lambda free: free.softmax(class_dim))
        if are_logarithms(output, class_dim):
            return OutputRange("log-softmax", lambda free: free.log_softmax(class_dim))
    if operation.startswith("Sigmoid"):
        return OutputRange("sigmoid", torch.sigmoid)
    if operation.startswith("Tanh"):
        return OutputRange("tanh", torch.tanh)
    if operation.startswith(("Relu", "Softplus")) and bool((output >= 0).all()):
        return OutputRange(RELU if operation.startswith("Relu") else "softplus", torch.nn.functional.softplus)
    return FREE
