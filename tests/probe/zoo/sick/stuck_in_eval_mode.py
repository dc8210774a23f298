"""An overridden `train` forgets its argument and leaves the model in eval mode for good."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):  # <- sick
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(64, 10)

    def train(self, mode=True):
        return super().train(False)

    def forward(self, x):
        return self.head(self.body(x))


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
