"""Features are divided by their deviation over the batch, which is NaN for a batch of one."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.hidden(x)
        x = x / x.std(dim=0)  # <- sick
        return self.head(torch.relu(x))


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
