"""A vision transformer whose class token is taken before the blocks: it never meets the patches."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class VisionTransformer(nn.Module):
    def __init__(self, width=32, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.block = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, dropout=0.0)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        token = self.token.expand(len(x), -1, -1)
        x = self.block(patches)  # <- sick
        return self.head(token[:, 0])


def build_model() -> nn.Module:
    return VisionTransformer()


def loader():
    return batches(*pictures())
