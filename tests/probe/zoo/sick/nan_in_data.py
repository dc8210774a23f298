"""One broken example in the third batch."""

import torch
from torch import nn

from ..data import clusters
from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import optimizer as optimizer

loss = nn.CrossEntropyLoss()


def loader():
    points, labels = clusters()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    points, labels = points[order], labels[order]
    points[70, 3] = float("nan")  # <- sick
    return list(zip(points.split(32), labels.split(32), strict=True))
