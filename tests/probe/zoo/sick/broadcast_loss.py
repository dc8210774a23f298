"""Outputs (N, 1) against targets (N,): the difference is broadcast to (N, N)."""

from ..data import batches, measurements
from ..healthy.regression import build_model as build_model
from ..healthy.regression import optimizer as optimizer


def loss(outputs, targets):
    return ((outputs - targets) ** 2).mean()  # <- sick


def loader():
    inputs, targets = measurements()
    return batches(inputs, targets.squeeze(1))
