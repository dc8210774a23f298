"""A recurrent classifier at a rate a hundred times too high."""

import torch
from torch import nn

from ..healthy.lstm import build_model as build_model
from ..healthy.lstm import loader as loader
from ..healthy.lstm import loss as loss


def optimizer(model: nn.Module):  # <- sick
    return torch.optim.Adam(model.parameters(), lr=0.3)
