"""The biases start so low that no ReLU ever opens."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 64)
        self.second = nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)
        nn.init.constant_(self.first.bias, -10.0)

    def forward(self, x):
        x = torch.relu(self.first(x))  # <- sick
        return self.head(torch.relu(self.second(x)))


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
