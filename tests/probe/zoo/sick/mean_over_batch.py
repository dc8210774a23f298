"""Features are centred over the examples instead of over the features."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class CentredNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(20, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x - x.mean(0, keepdim=True)  # <- sick
        return self.head(x)


def build_model() -> nn.Module:
    return CentredNet()


def loader():
    return batches(*clusters())
