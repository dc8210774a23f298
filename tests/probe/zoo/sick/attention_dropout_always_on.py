"""The dropout of scaled_dot_product_attention does not know of modes: it drops in eval mode too."""

import torch
import torch.nn.functional as F
from torch import nn

from ..data import batches, series

loss = nn.CrossEntropyLoss()


class Attention(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Linear(6, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        q, k, v = self.qkv(self.embed(x)).chunk(3, dim=-1)
        x = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], dropout_p=0.2)  # <- sick
        return self.head(x[:, 0].mean(1))


def build_model() -> nn.Module:
    return Attention()


def loader():
    return batches(*series())


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
