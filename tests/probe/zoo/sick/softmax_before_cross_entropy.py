"""The model ends in a softmax, and cross-entropy applies it again."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.hidden(x))
        return torch.softmax(self.head(x), dim=1)  # <- sick


def build_model() -> nn.Module:
    return Classifier()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
