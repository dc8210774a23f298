"""The features are detached before the head, so only the head learns."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
        self.head = nn.Linear(72, 10)

    def forward(self, x):
        x = self.features(x).flatten(1).detach()  # <- sick
        return self.head(torch.relu(x))


def build_model() -> nn.Module:
    return Classifier()


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
