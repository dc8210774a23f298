"""Distances to learned codes from squares that cancel: exact enough in float32, NaN under autocast."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class NearestCode(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))
        self.codes = nn.Parameter(8 + 0.1 * torch.randn(10, 16))

    def forward(self, x):
        x = 8 + 0.1 * self.encoder(x)
        squared = (x**2).sum(1, keepdim=True) + (self.codes**2).sum(1) - 2 * (x @ self.codes.t())  # <- sick
        return -squared.sqrt()


def build_model() -> nn.Module:
    return NearestCode()


def loader():
    return batches(*clusters())
