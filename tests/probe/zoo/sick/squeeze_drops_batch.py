"""A bare `squeeze` takes the batch dimension away too, as soon as the batch holds one example."""

import torch
from torch import nn

from ..data import batches, measurements

loss = nn.MSELoss()


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x))).squeeze()  # <- sick


def build_model() -> nn.Module:
    return Regressor()


def loader():
    inputs, targets = measurements()
    return batches(inputs, targets.squeeze(1))


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
