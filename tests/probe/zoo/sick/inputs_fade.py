"""Inputs in metres beside a constant offset in nanometres: what differs between examples is lost in the sum."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Classifier(nn.Module):  # <- sick
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.first(1e-6 * x) + 1.0)
        return self.head(x)


def build_model() -> nn.Module:
    return Classifier()


def loader():
    return batches(*clusters())
