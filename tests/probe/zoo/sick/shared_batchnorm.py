"""One batch norm for pictures of the day and of the night: its running statistics fit neither."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.day = nn.Conv2d(3, 16, 3)
        self.night = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)  # <- sick
        self.head = nn.Linear(16, 10)

    def forward(self, day, night):
        first = torch.relu(self.norm(self.day(day)))
        second = torch.relu(self.norm(self.night(night)))
        return self.head(first.mean(dim=(2, 3)) + second.mean(dim=(2, 3)))


def build_model() -> nn.Module:
    return Pair()


def loader():
    images, labels = pictures()
    return batches(images + 2, 0.05 * images - 5, labels)


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
