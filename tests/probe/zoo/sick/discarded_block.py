"""The result of the second convolution is overwritten by that of the first."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)  # <- sick
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        first = torch.relu(self.first(x))
        second = torch.relu(self.second(first))  # noqa: F841
        return self.head(first.mean(dim=(2, 3)))


def build_model() -> nn.Module:
    return ConvNet()


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
