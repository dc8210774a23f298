"""A recurrent classifier fed (time, batch, features) by its collate function."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ..data import generator, series

loss = nn.CrossEntropyLoss()


class Recurrent(nn.Module):
    def __init__(self, features=6, hidden=32, classes=4):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.head(states[-1])


def time_first(examples):
    waves, labels = zip(*examples, strict=True)
    return torch.stack(waves, dim=1), torch.stack(labels)


def build_model() -> nn.Module:
    return Recurrent()


def loader():
    data = TensorDataset(*series())
    return DataLoader(data, batch_size=32, shuffle=True, collate_fn=time_first, generator=generator(1))


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
