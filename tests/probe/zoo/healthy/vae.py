"""A variational autoencoder: random in train mode, and its loss has no floor at zero."""

import torch
import torch.nn.functional as F
from torch import nn

from ..data import batches, pictures


class VAE(nn.Module):
    def __init__(self, pixels=256, latent=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, 64), nn.ReLU())
        self.mu = nn.Linear(64, latent)
        self.logvar = nn.Linear(64, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, pixels))

    def forward(self, x):
        code = self.encoder(x)
        mu, logvar = self.mu(code), self.logvar(code)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.decoder(z), mu, logvar


def loss(outputs, targets):
    reconstruction, mu, logvar = outputs
    divergence = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(dim=1).mean()
    return F.mse_loss(reconstruction, targets, reduction="none").sum(dim=1).mean() + divergence


def build_model() -> nn.Module:
    return VAE()


def loader():
    images, _ = pictures(channels=1)
    flat = images.flatten(1)
    return batches(flat, flat)


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-3)
