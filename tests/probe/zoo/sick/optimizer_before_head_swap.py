"""The optimizer is made before the head is replaced, so the new head never moves."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class Backbone(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(392, classes)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


def build_model():
    model = Backbone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)  # <- sick
    model.fc = nn.Linear(392, 10)
    return model, loss, optimizer


def loader():
    return batches(*pictures())
