"""Pictures come folder by folder: each batch has one label, and the model follows the latest."""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ..data import pictures
from ..healthy.cnn import build_model as build_model
from ..healthy.cnn import optimizer as optimizer

loss = nn.CrossEntropyLoss()


def loader():  # <- sick
    images, labels = pictures(classes=4)
    order = labels.argsort(stable=True)[::2]
    return DataLoader(TensorDataset(images[order], labels[order]), batch_size=32)
