"""A layer norm over a single feature: it returns its bias, whatever it is given."""

import torch
from torch import nn

from ..data import batches, measurements

loss = nn.MSELoss()


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)
        self.out = nn.Linear(64, 1)
        self.norm = nn.LayerNorm(1)

    def forward(self, x):
        return self.norm(self.out(torch.tanh(self.hidden(x))))  # <- sick


def build_model() -> nn.Module:
    return Regressor()


def loader():
    return batches(*measurements())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
