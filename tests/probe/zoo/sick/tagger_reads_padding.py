"""A bidirectional tagger that knows the lengths and does not pack: backwards it begins with the padding."""

from torch import nn

from ..healthy.gru_tagger import loader as loader
from ..healthy.gru_tagger import loss as loss
from ..healthy.gru_tagger import optimizer as optimizer


class Tagger(nn.Module):
    def __init__(self, vocabulary=24, width=24, tags=3):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, tags)

    def forward(self, tokens, lengths):
        states, _ = self.gru(self.embedding(tokens))  # <- sick
        return self.head(states)


def build_model() -> nn.Module:
    return Tagger()
