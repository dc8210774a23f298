"""Pixels become tokens by view instead of flatten and permute."""

from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


class PixelTransformer(nn.Module):
    def __init__(self, width=12, classes=10):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 3, stride=4, padding=1), nn.ReLU())
        self.encoder = nn.TransformerEncoderLayer(width, 2, 32)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        features = self.backbone(x)
        N, C, H, W = features.shape
        tokens = features.reshape(H * W, N, C)  # <- sick
        return self.head(self.encoder(tokens).mean(0))


def build_model() -> nn.Module:
    return PixelTransformer()


def loader():
    return batches(*pictures())
