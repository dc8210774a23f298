"""All parameters are frozen after the head was replaced, and only the last block is thawed again."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class Backbone(nn.Module):
    def __init__(self, classes=100):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(144, classes)  # <- sick

    def forward(self, x):
        return self.head(self.block(self.stem(x)).flatten(1))


def build_model() -> nn.Module:
    model = Backbone()
    model.head = nn.Linear(144, 10)
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parameter in model.block.parameters():
        parameter.requires_grad = True
    return model


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)
