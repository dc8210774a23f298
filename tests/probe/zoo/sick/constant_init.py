"""Every weight starts at the same value, and so all units of a layer learn the same."""

import torch
from torch import nn

from ..data import batches, measurements

loss = nn.MSELoss()


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)  # <- sick
        self.out = nn.Linear(64, 1)
        for layer in (self.hidden, self.out):
            nn.init.constant_(layer.weight, 0.05)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))


def build_model() -> nn.Module:
    return Regressor()


def loader():
    return batches(*measurements())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
