"""Pictures of bytes become floats inside the model, without being scaled."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.second = nn.Conv2d(8, 16, 3, stride=2)
        self.head = nn.Linear(144, 10)

    def forward(self, x):
        x = torch.relu(self.first(x.float()))
        return 0.01 * self.head(torch.relu(self.second(x)).flatten(1))


def build_model() -> nn.Module:
    return Net()


def loader():
    images, labels = pictures()
    return batches((128 + 48 * images).clamp(0, 255).byte(), labels)  # <- sick
