"""All weights start at zero, so every unit of a layer stays the same as its neighbour."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


def init_weights(module):
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)  # <- sick
        nn.init.zeros_(module.bias)


def build_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model.apply(init_weights)


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
