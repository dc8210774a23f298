"""Two tasks on one trunk: the ages are in days, so that their squared error is all that the trunk learns."""

import torch
import torch.nn.functional as F
from torch import nn

from ..data import batches, clusters, measurements


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.group = nn.Linear(64, 10)
        self.age = nn.Linear(64, 1)

    def forward(self, x):
        features = self.trunk(x)
        return self.group(features), self.age(features)


def build_model() -> nn.Module:
    return TwoHeads()


def loader():
    points, labels = clusters()
    return batches(points, labels, 12000 + 5000 * measurements()[1])


def step(model, batch):
    points, labels, days = batch
    group, age = model(points)
    age_loss = F.mse_loss(age, days)  # <- sick
    return F.cross_entropy(group, labels) + age_loss


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
