"""Three per cent of the labels are positive, and the loss does not know."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.BCEWithLogitsLoss()


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))


def loader():
    points, _ = clusters()
    return batches(points, (torch.arange(256) % 32 == 0).float()[:, None])  # <- sick
