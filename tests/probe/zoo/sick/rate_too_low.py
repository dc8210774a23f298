"""A rate a thousand times too low."""

import torch
from torch import nn

from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import loader as loader
from ..healthy.mlp import loss as loss


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-6)  # <- sick
