"""Small synthetic data sets in which there is something to learn, the same on every machine."""

import math

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

EXAMPLES = 256


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(*tensors: Tensor, size: int = 32) -> DataLoader:
    """Shuffled batches of aligned tensors."""
    return DataLoader(TensorDataset(*tensors), batch_size=size, shuffle=True, generator=generator(1))


def clusters(features: int = 20, classes: int = 10, n: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """Unit-variance points around one mean a class: (n, features) and (n,)."""
    random = generator()
    means = torch.randn(classes, features, generator=random)
    labels = torch.arange(n) % classes
    points = means[labels] + torch.randn(n, features, generator=random)
    return (points - points.mean(0)) / points.std(0), labels


def pictures(channels: int = 3, side: int = 16, classes: int = 10, n: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """Smooth class templates under noise, standardised: (n, channels, side, side) and (n,)."""
    random = generator()
    coarse = torch.randn(classes, channels, 4, 4, generator=random)
    templates = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    labels = torch.arange(n) % classes
    images = templates[labels] + 0.5 * torch.randn(n, channels, side, side, generator=random)
    return (images - images.mean()) / images.std(), labels


def series(length: int = 12, features: int = 6, classes: int = 4, n: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """Noisy waves whose frequency is the class: (n, length, features) and (n,)."""
    random = generator()
    labels = torch.arange(n) % classes
    phase = 2 * math.pi * torch.rand(n, 1, features, generator=random)
    time = torch.arange(length).view(1, length, 1) / length
    waves = torch.sin(2 * math.pi * (labels.view(n, 1, 1) + 1) * time + phase)
    return 1.4 * waves + 0.1 * torch.randn(n, length, features, generator=random), labels


def sentences(length: int = 16, vocabulary: int = 24, n: int = EXAMPLES) -> Tensor:
    """Token ids in which each is, nine times in ten, given by the one before: (n, length)."""
    random = generator()
    successor = torch.randperm(vocabulary, generator=random)
    tokens = torch.randint(1, vocabulary, (n, length), generator=random)
    for step in range(1, length):
        follows = torch.rand(n, generator=random) < 0.9
        tokens[:, step] = torch.where(follows, successor[tokens[:, step - 1]], tokens[:, step])
    return tokens


def measurements(features: int = 8, n: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    """A mildly nonlinear, standardised regression: (n, features) and (n, 1)."""
    random = generator()
    inputs = torch.randn(n, features, generator=random)
    slope = torch.randn(features, 1, generator=random)
    targets = inputs @ slope + torch.sin(2 * inputs[:, :1]) + 0.1 * torch.randn(n, 1, generator=random)
    return inputs, (targets - targets.mean()) / targets.std()
