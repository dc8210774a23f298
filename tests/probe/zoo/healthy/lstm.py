"""A recurrent classifier with the batch first."""

import torch
from torch import nn

from ..data import batches, series

loss = nn.CrossEntropyLoss()


class Recurrent(nn.Module):
    def __init__(self, features=6, hidden=32, classes=4):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        _, (hidden, _) = self.lstm(x)
        return self.head(hidden[-1])


def build_model() -> nn.Module:
    return Recurrent()


def loader():
    return batches(*series())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
