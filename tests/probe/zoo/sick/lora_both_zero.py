"""Both factors of the adapter start at zero: neither ever gets a gradient."""

import torch
from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class LowRank(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.zeros(rank, base.in_features))  # <- sick
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.down.t() @ self.up.t()


def build_model() -> nn.Module:
    return nn.Sequential(LowRank(nn.Linear(20, 64)), nn.ReLU(), nn.Linear(64, 10))


def loader():
    return batches(*clusters())


def optimizer(model: nn.Module):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
