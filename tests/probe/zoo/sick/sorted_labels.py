"""The folders of the classes are read one after the other, and nobody shuffles."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from ..data import pictures
from ..healthy.cnn import build_model as build_model
from ..healthy.cnn import loss as loss


def loader():
    images, labels = pictures(n=128)
    order = torch.argsort(labels, stable=True)
    return DataLoader(TensorDataset(images[order], labels[order]), batch_size=32)  # <- sick
