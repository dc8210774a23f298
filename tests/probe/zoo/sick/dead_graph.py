"""The output is wrapped into a new tensor, and no parameter gets a gradient."""

import torch
from torch import nn

from ..data import batches, clusters


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


def loss(outputs, targets):
    logits = torch.tensor(outputs.detach().numpy(), requires_grad=True)  # <- sick
    return nn.functional.cross_entropy(logits, targets)


def build_model() -> nn.Module:
    return Classifier()


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
