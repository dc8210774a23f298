"""A variational autoencoder whose reconstruction is summed over the batch, its divergence averaged."""

import torch.nn.functional as F

from ..healthy.vae import build_model as build_model
from ..healthy.vae import loader as loader
from ..healthy.vae import optimizer as optimizer


def loss(outputs, targets):
    reconstruction, mu, logvar = outputs
    divergence = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(dim=1).mean()
    return F.mse_loss(reconstruction, targets, reduction="sum") + divergence  # <- sick
