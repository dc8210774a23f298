"""A regression on targets around 50 whose last bias starts at zero."""

import torch
from torch import nn

from ..data import batches, measurements

loss = nn.MSELoss()


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))


def loader():
    inputs, targets = measurements()
    return batches(inputs, 50 + targets)  # <- sick


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
