"""The loop that freezes the backbone runs after the head was made, and freezes it too."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class Classifier(nn.Module):  # <- sick
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(torch.relu(self.backbone(x)))


def build_model() -> nn.Module:
    model = Classifier()
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


def loader():
    return batches(*clusters())
