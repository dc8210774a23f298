"""A convolutional net whose layers learn their input sizes from the first batch."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(16, 3, stride=2),
        nn.ReLU(),
        nn.LazyConv2d(32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
