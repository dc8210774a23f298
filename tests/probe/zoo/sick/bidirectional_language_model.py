"""A bidirectional LSTM predicts the next word of (time, batch) slices, and reads it from the other end."""

from torch import nn

from ..healthy.language_model_sequence_first import VOCABULARY
from ..healthy.language_model_sequence_first import loader as loader
from ..healthy.language_model_sequence_first import loss as loss


class LanguageModel(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.encoder = nn.Embedding(VOCABULARY, width)
        self.rnn = nn.LSTM(width, width, num_layers=2, bidirectional=True)
        self.decoder = nn.Linear(2 * width, VOCABULARY)

    def forward(self, tokens):
        states, _ = self.rnn(self.encoder(tokens))  # <- sick
        return self.decoder(states)


def build_model() -> nn.Module:
    return LanguageModel()
