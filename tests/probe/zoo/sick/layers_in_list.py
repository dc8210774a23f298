"""The hidden layers are kept in a plain list, which registers nothing."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Deep(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.stem = nn.Linear(20, 64)
        self.hidden = [nn.Linear(64, 64) for _ in range(depth)]  # <- sick
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


def build_model() -> nn.Module:
    return Deep()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
