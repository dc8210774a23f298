"""A weight decay of 0.5 with SGD: the weights shrink faster than they learn."""

import torch
from torch import nn

from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import loader as loader
from ..healthy.mlp import loss as loss


def optimizer(model: nn.Module):  # <- sick
    return torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.5)
