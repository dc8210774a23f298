"""Batch norm that keeps no running statistics: a prediction depends on the company it is made in."""

from torch import nn

from ..data import batches, clusters

loss = nn.CrossEntropyLoss()


class NormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(20, 32)
        self.norm = nn.BatchNorm1d(32, track_running_stats=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.norm(self.stem(x))  # <- sick
        return self.head(x.relu())


def build_model() -> nn.Module:
    return NormNet()


def loader():
    return batches(*clusters())
