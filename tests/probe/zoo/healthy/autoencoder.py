"""An autoencoder of pictures: the input is the target."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.MSELoss()


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 16),
        nn.ReLU(),
        nn.Linear(16, 64),
        nn.ReLU(),
        nn.Linear(64, 256),
        nn.Unflatten(1, (1, 16, 16)),
    )


def loader():
    images, _ = pictures(channels=1)
    return batches(images, images)


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
