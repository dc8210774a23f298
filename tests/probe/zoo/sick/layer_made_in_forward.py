"""The projection is made at the first forward: a new model does not have it yet when the checkpoint is loaded."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.projection = None
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        if self.projection is None:
            self.projection = nn.Linear(x.size(1), 32)  # <- sick
        return self.head(torch.relu(self.projection(x)))


def build_model() -> nn.Module:
    return ConvNet()


def loader():
    return batches(*pictures())
