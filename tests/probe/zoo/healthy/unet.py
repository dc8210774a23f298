"""A small U-Net that finds the bright parts of a picture."""

import torch
from torch import nn

from ..data import batches, pictures

loss = nn.BCEWithLogitsLoss()


def double_conv(fan_in, fan_out):
    return nn.Sequential(
        nn.Conv2d(fan_in, fan_out, 3, padding=1),
        nn.GroupNorm(4, fan_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(fan_out, fan_out, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = double_conv(1, 8)
        self.down2 = double_conv(8, 16)
        self.bottom = double_conv(16, 16)
        self.up2 = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.conv2 = double_conv(32, 8)
        self.up1 = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.conv1 = double_conv(16, 8)
        self.head = nn.Conv2d(8, 1, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.bottom(self.pool(second))
        x = self.conv2(torch.cat([second, self.up2(x)], dim=1))
        x = self.conv1(torch.cat([first, self.up1(x)], dim=1))
        return self.head(x)


def build_model() -> nn.Module:
    return UNet()


def loader():
    images, _ = pictures(channels=1)
    smooth = nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    return batches(images, (smooth > 0).float(), size=16)


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=2e-3)
