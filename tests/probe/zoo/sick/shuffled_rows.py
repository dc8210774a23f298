"""The skip connection adds the features of another example."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class SkipNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(20, 32)
        self.body = nn.Linear(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        order = torch.arange(len(x) - 1, -1, -1)
        skip = x[order]  # <- sick
        return self.head(torch.relu(self.body(x)) + skip)


def build_model() -> nn.Module:
    return SkipNet()


def loader():
    return batches(*clusters())
