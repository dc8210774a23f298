"""A transformer that takes the padding mask and does not pass it on."""

import torch
from torch import nn

from ..healthy.bert import loader as loader


class Classifier(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Embedding(24, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask):
        x = self.encoder(self.embed(input_ids))  # <- sick
        return self.head(x[:, 0])


def build_model() -> nn.Module:
    return Classifier()


def optimizer(model: nn.Module):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)
