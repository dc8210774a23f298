"""nn.MultiheadAttention without batch_first attends over the batch."""

from torch import nn

from ..data import batches, sentences

loss = nn.CrossEntropyLoss()


class Encoder(nn.Module):
    def __init__(self, width=16, classes=2):
        super().__init__()
        self.embedding = nn.Embedding(24, width)
        self.attn = nn.MultiheadAttention(width, 2)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        x = self.embedding(tokens)
        attended, _ = self.attn(x, x, x)  # <- sick
        return self.head((x + attended).mean(dim=1))


def build_model() -> nn.Module:
    return Encoder()


def loader():
    tokens = sentences()
    return batches(tokens, (tokens[:, 0] >= 12).long())
