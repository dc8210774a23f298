"""A momentum of zero: the running statistics keep their first values, and eval mode divides by them."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16, momentum=0.0)  # <- sick
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


def build_model() -> nn.Module:
    return ConvNet()


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
