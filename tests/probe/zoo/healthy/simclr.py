"""Contrastive learning: the loss compares the whole batch, the embeddings of two examples stay apart."""

import torch
import torch.nn.functional as F
from torch import nn

from ..data import batches, clusters, generator


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.projector = nn.Linear(64, 16)

    def forward(self, first, second):
        views = torch.cat([first, second])
        return F.normalize(self.projector(self.backbone(views)), dim=1)


def step(model, batch):
    first, second = batch
    z = model(first, second)
    n = first.size(0)
    similarity = (z @ z.t() / 0.2).masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), -1e9)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, partner)


def build_model() -> nn.Module:
    return Encoder()


def loader():
    points, _ = clusters()
    noise = [0.3 * torch.randn(points.shape, generator=generator(seed)) for seed in (3, 4)]
    return batches(points + noise[0], points + noise[1])


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=2e-3)
