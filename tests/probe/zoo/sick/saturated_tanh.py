"""Weights drawn from N(0, 1) drive every tanh to its ends."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 256)
        self.second = nn.Linear(256, 256)
        self.head = nn.Linear(256, 10)
        nn.init.normal_(self.second.weight)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.head(torch.tanh(self.second(x)))  # <- sick


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
