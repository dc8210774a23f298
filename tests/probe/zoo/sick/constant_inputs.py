"""Every example is the same: the file is read once and returned for every index."""

from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..data import clusters, generator
from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import optimizer as optimizer

loss = nn.CrossEntropyLoss()


class Points(Dataset):
    def __init__(self):
        self.points, self.labels = clusters()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.points[0], self.labels[index]  # <- sick


def loader():
    return DataLoader(Points(), batch_size=32, shuffle=True, generator=generator(1))
