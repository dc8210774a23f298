"""A convolutional net whose rate was raised for a batch of 3,200 and kept for one of 32."""

import torch
from torch import nn

from ..healthy.cnn import build_model as build_model
from ..healthy.cnn import loader as loader
from ..healthy.cnn import loss as loss


def optimizer(model: nn.Module):  # <- sick
    return torch.optim.SGD(model.parameters(), lr=5.0, momentum=0.9, weight_decay=5e-4)
