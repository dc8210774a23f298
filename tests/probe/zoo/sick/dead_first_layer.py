"""The bias of the first layer keeps all its units off."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)
        nn.init.constant_(self.first.bias, -50.0)

    def forward(self, x):
        x = self.first(x)  # <- sick
        return self.head(torch.relu(x))


def build_model() -> nn.Module:
    return Classifier()


def loader():
    return batches(*clusters())
