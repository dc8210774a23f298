"""Weights drawn from N(0, 1) make each layer five times as large as the one before."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self, depth=6):
        super().__init__()
        self.stem = nn.Linear(20, 64)
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(depth))
        self.head = nn.Linear(64, 10)
        for block in self.blocks:
            nn.init.normal_(block.weight)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(block(x))  # <- sick
        return self.head(x)


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
