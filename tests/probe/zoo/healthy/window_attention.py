"""Attention inside windows: the batch is merged with windows and heads, and split again."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class WindowAttention(nn.Module):
    def __init__(self, width, heads=2, window=4):
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        B, H, W, C = x.shape
        s = self.window
        x = x.view(B, H // s, s, W // s, s, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, C)
        q, k, v = self.qkv(x).reshape(-1, s * s, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).flatten(1, 2)
        weights = torch.bmm(q, k.transpose(1, 2)).div((C // self.heads) ** 0.5).softmax(dim=-1)
        x = torch.bmm(weights, v).view(-1, self.heads, s * s, C // self.heads).transpose(1, 2)
        x = self.proj(x.reshape(-1, s * s, C)).view(B, H // s, W // s, s, s, C)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)


class WindowNet(nn.Module):
    def __init__(self, width=16, classes=10):
        super().__init__()
        self.embed = nn.Conv2d(3, width, 2, stride=2)
        self.norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.embed(x).permute(0, 2, 3, 1)
        x = x + self.attention(self.norm(x))
        return self.head(x.mean(dim=(1, 2)))


def build_model() -> nn.Module:
    return WindowNet()


def loader():
    return batches(*pictures())


def optimizer(model: nn.Module):
    return torch.optim.AdamW(model.parameters(), lr=3e-3)
