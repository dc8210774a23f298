"""Attention pooling whose weights are normalised over the examples instead of over time."""

import torch
from torch import nn

from ..data import batches, series

loss = nn.CrossEntropyLoss()


class AttentionPooling(nn.Module):
    def __init__(self, width=16, classes=4):
        super().__init__()
        self.embed = nn.Linear(6, width)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = torch.tanh(self.embed(x))
        weights = torch.softmax(self.score(x), dim=0)  # <- sick
        return self.head((weights * x).sum(dim=1))


def build_model() -> nn.Module:
    return AttentionPooling()


def loader():
    return batches(*series())
