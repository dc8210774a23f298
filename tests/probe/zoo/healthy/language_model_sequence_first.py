"""A word-level language model on (time, batch) slices of one long text, as the PyTorch examples cut it."""

import torch
from torch import nn

from ..data import sentences

VOCABULARY, STEPS, COLUMNS = 24, 11, 16


class LanguageModel(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.encoder = nn.Embedding(VOCABULARY, width)
        self.rnn = nn.GRU(width, width)
        self.decoder = nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        states, _ = self.rnn(self.encoder(tokens))
        return self.decoder(states)


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def build_model() -> nn.Module:
    return LanguageModel()


def loader():
    text = sentences(length=16 * (STEPS + 1), n=COLUMNS).t()
    return [(text[i : i + STEPS], text[i + 1 : i + STEPS + 1]) for i in range(0, len(text) - STEPS - 1, STEPS)]


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
