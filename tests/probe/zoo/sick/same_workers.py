"""Each worker of an iterable data set reads the whole stream."""

from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from ..data import clusters
from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import optimizer as optimizer

loss = nn.CrossEntropyLoss()


class Stream(IterableDataset):
    def __iter__(self):
        points, labels = clusters()
        return iter(zip(points, labels, strict=True))  # <- sick


def loader():
    return DataLoader(Stream(), batch_size=32, num_workers=2)
