"""Dilated convolutions forecast the next value, padded on both sides instead of the past alone."""

import torch
from torch import nn

from ..data import batches, series

loss = nn.MSELoss()


class Forecast(nn.Module):
    def __init__(self, channels=6, width=16):
        super().__init__()
        self.entry = nn.Conv1d(channels, width, 1)
        self.dilated = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d, padding=d) for d in (1, 2))
        self.exit = nn.Conv1d(width, channels, 1)

    def forward(self, x):
        x = self.entry(x)
        for conv in self.dilated:
            x = x + torch.relu(conv(x))  # <- sick
        return self.exit(x)


def build_model() -> nn.Module:
    return Forecast()


def loader():
    waves, _ = series(length=24)
    waves = waves.transpose(1, 2).contiguous()
    return batches(waves[:, :, :-1].contiguous(), waves[:, :, 1:].contiguous())
