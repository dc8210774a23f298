"""The validation data are a part of the training data."""

from torch import nn

from ..data import batches, clusters
from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import optimizer as optimizer

loss = nn.CrossEntropyLoss()


def loader():
    points, labels = clusters()
    return batches(points, labels), batches(points[-64:], labels[-64:])  # <- sick
