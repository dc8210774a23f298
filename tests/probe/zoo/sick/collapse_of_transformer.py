"""A classifier on BERT trained at a rate that suits a perceptron: it soon says the same for every sentence."""

import torch
from torch import nn

from ..healthy.bert import build_model as build_model
from ..healthy.bert import loader as loader


def optimizer(model: nn.Module):  # <- sick
    return torch.optim.AdamW(model.parameters(), lr=0.1)
