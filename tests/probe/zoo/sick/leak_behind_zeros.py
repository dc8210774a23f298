"""A branch that averages over the batch, hidden at the start by its zero-initialised last layer."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class ContextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x):
        context = torch.relu(self.up(x)).mean(dim=0)  # <- sick
        return x + self.down(context)


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), ContextBlock(32), nn.Linear(32, 10))


def loader():
    return batches(*clusters())
