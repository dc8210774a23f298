"""A tagger of padded sentences: packed sequences, a padding index, ignored labels."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

from ..data import generator, sentences


class Tagger(nn.Module):
    def __init__(self, vocabulary=24, width=24, tags=3):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return self.head(states)


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100)


def pad(sentence_batch):
    lengths = torch.tensor([len(sentence) for sentence in sentence_batch])
    tokens = pad_sequence(sentence_batch, batch_first=True)
    tags = torch.where(tokens > 0, tokens % 3, -100)
    return {"tokens": tokens, "lengths": lengths, "tags": tags}


def build_model() -> nn.Module:
    return Tagger()


def loader():
    data = [row[: 5 + i % 6] for i, row in enumerate(sentences(length=10))]
    return DataLoader(data, batch_size=16, shuffle=True, collate_fn=pad, generator=generator(1))


def optimizer(model: nn.Module):
    return torch.optim.Adam(model.parameters(), lr=3e-3)
