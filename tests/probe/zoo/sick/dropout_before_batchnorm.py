"""Dropout in front of every batch norm: the running variances hold the noise that eval mode lacks."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


def block(width):
    return [nn.Dropout(0.7), nn.BatchNorm1d(width), nn.Linear(width, width), nn.ReLU()]


class Net(nn.Module):
    def __init__(self, width=64, depth=6):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(20, width), nn.ReLU())
        self.blocks = nn.Sequential(*(layer for _ in range(depth) for layer in block(width)))  # <- sick
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def build_model() -> nn.Module:
    return Net()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
