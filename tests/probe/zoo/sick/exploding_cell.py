"""A recurrent net written as a loop, with recurrent weights that are far too large."""

import torch
from torch import nn

from ..data import batches, series

loss = nn.CrossEntropyLoss()


class Recurrent(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.inputs = nn.Linear(6, width)
        self.recurrent = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 4)
        nn.init.normal_(self.recurrent.weight, std=0.5)

    def forward(self, x):
        state = torch.relu(self.inputs(x[:, 0]))
        for step in range(1, x.size(1)):
            state = torch.relu(self.inputs(x[:, step]) + self.recurrent(state))  # <- sick
        return self.head(state)


def build_model() -> nn.Module:
    return Recurrent()


def loader():
    return batches(*series(length=24))


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
