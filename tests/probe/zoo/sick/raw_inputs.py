"""Pictures in 0..255 go into the network as they are."""

from torch import nn

from ..data import batches, pictures

loss = nn.CrossEntropyLoss()


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


def loader():
    images, labels = pictures()
    return batches((128 + 48 * images).clamp(0, 255).round(), labels)  # <- sick
