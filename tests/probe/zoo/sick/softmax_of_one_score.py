"""Attention scores are normalised over their last dimension, which has one element: every weight is one."""

import torch
from torch import nn

from ..data import batches, series

loss = nn.CrossEntropyLoss()


class Pooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(6, 32, batch_first=True)
        self.score = nn.Linear(32, 1)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        states, _ = self.encoder(x)
        weights = torch.softmax(self.score(states), dim=-1)  # <- sick
        return self.head((weights * states).mean(1))


def build_model() -> nn.Module:
    return Pooling()


def loader():
    return batches(*series())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
