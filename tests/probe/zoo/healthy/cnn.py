"""A convolutional classifier with batch norm and dropout: mixes the batch in train mode, by design."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class ConvNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        x = self.features(x).mean(dim=(2, 3))
        return self.head(self.dropout(x))


def build_model() -> nn.Module:
    return ConvNet()


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
