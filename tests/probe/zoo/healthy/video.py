"""Frames through a shared convolution as (batch * time), then a recurrent net over time."""

import torch
from torch import nn

from ..data import batches, generator, series

loss = nn.CrossEntropyLoss()


class VideoNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.frame = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.gru = nn.GRU(32, 32)
        self.head = nn.Linear(32, classes)

    def forward(self, clips):
        B, T, C, H, W = clips.shape
        frames = self.frame(clips.view(B * T, C, H, W)).view(B, T, -1)
        _, hidden = self.gru(frames.transpose(0, 1))
        return self.head(hidden.squeeze(0))


def build_model() -> nn.Module:
    return VideoNet()


def loader():
    waves, labels = series(length=10, features=1)
    pattern = torch.randn(1, 1, 1, 8, 8, generator=generator(2))
    return batches(waves[..., None, None] * pattern, labels)


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=1e-2)
