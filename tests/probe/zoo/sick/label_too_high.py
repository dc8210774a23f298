"""A class that only shows up in a later batch has no output."""

from torch import nn

from ..data import clusters
from ..healthy.mlp import build_model as build_model

loss = nn.CrossEntropyLoss()


def loader():
    points, labels = clusters()
    labels[70] = 10  # <- sick
    return list(zip(points.split(32), labels.split(32), strict=True))
