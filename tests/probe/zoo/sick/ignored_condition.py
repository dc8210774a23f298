"""A conditional decoder that is given its condition and goes on without it."""

import torch
from torch import nn

from ..data import batches, measurements, series

loss = nn.MSELoss()


class Conditional(nn.Module):  # <- sick
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 24, batch_first=True)
        self.embed = nn.Linear(8, 24)
        self.head = nn.Linear(48, 1)

    def forward(self, sequence, condition):
        _, hidden = self.gru(sequence)
        both = torch.cat([hidden[-1], hidden[-1]], dim=1)
        return self.head(both)


def build_model() -> nn.Module:
    return Conditional()


def loader():
    waves, _ = series()
    return batches(waves, *measurements())
