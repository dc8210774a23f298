"""An L2 penalty in the step beside the weight decay of AdamW, which nobody sees because it is the default."""

import torch
import torch.nn.functional as F
from torch import nn

from ..healthy.cnn import build_model as build_model
from ..healthy.cnn import loader as loader


def step(model, batch):
    images, labels = batch
    penalty = 0.0
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            penalty = penalty + parameter.pow(2).sum()  # <- sick
    return F.cross_entropy(model(images), labels) + 5e-4 * penalty


def optimizer(model: nn.Module):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)
