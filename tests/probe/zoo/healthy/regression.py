"""A small regression on standardised targets."""

import torch
from torch import nn

from ..data import batches, measurements

loss = nn.MSELoss()


class Regressor(nn.Module):
    def __init__(self, features=8, hidden=64):
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))


def build_model() -> nn.Module:
    return Regressor()


def loader():
    return batches(*measurements())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
