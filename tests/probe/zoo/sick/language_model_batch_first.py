"""The recurrent layer of a language model reads the batch as time; the targets have the shape of the inputs."""

from torch import nn

from ..data import batches, sentences

VOCABULARY = 24


class LanguageModel(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.encoder = nn.Embedding(VOCABULARY, width)
        self.rnn = nn.GRU(width, width)
        self.decoder = nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        states, _ = self.rnn(self.encoder(tokens))  # <- sick
        return self.decoder(states)


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def build_model() -> nn.Module:
    return LanguageModel()


def loader():
    tokens = sentences(length=16, vocabulary=VOCABULARY)
    return batches(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), size=16)
