"""A running scale is a plain tensor attribute: training moves it, and the checkpoint does not hold it."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class ScaledNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(())
        self.hidden = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.hidden(x))
        if self.training:
            self.scale = 0.9 * self.scale + 0.1 * x.detach().std()
        return self.head(x / self.scale)  # <- sick


def build_model() -> nn.Module:
    return ScaledNet()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
