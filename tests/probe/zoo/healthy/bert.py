"""A tiny random BERT for sequence classification on dictionaries of padded token ids."""

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification

from ..data import generator, sentences


def build_model() -> nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=24,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            num_labels=2,
        )
    )


def padded_batch(examples):
    """The label is whether the first word is from the upper half of the vocabulary."""
    tokens = torch.stack(examples)
    lengths = 6 + tokens[:, -1] % 7
    mask = torch.arange(tokens.size(1)) < lengths[:, None]
    return {"input_ids": tokens * mask, "attention_mask": mask.long(), "labels": (tokens[:, 0] >= 12).long()}


def loader():
    words = list(sentences(length=12))
    return DataLoader(words, batch_size=16, shuffle=True, collate_fn=padded_batch, generator=generator(1))


def optimizer(model: nn.Module):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)
