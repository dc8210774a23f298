"""A helper that predicts leaves the model in eval mode, and forward calls it."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):  # <- sick
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(64, 10)

    def embed(self, x):
        self.eval()
        return self.body(x)

    def forward(self, x):
        return self.head(self.embed(x))


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
