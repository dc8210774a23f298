"""An L1 penalty whose factor was meant to be 1e-5."""

import torch
import torch.nn.functional as F
from torch import nn

from ..healthy.lstm import build_model as build_model
from ..healthy.lstm import loader as loader


def step(model, batch):
    series, labels = batch
    sparsity = sum(p.abs().sum() for p in model.parameters())  # <- sick
    return F.cross_entropy(model(series), labels) + 0.1 * sparsity


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
