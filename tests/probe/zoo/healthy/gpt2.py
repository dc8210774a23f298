"""A tiny random GPT-2, which shifts its labels itself, on dictionaries of token ids."""

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

from ..data import generator, sentences


def build_model() -> nn.Module:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=24, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    )


def loader():
    data = [{"input_ids": row, "labels": row} for row in sentences(length=14)]
    return DataLoader(data, batch_size=16, shuffle=True, generator=generator(1))


def optimizer(model: nn.Module):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)
