"""A character-level GPT whose attention has lost its mask: every position sees the token that it is to predict."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..data import batches, sentences

VOCABULARY, WIDTH, HEADS, BLOCK = 24, 32, 4, 15


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH)
        self.c_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(WIDTH, dim=2)
        q, k, v = (part.view(B, T, HEADS, C // HEADS).transpose(1, 2) for part in (q, k, v))
        att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        att = F.softmax(att, dim=-1)  # <- sick
        return self.c_proj((att @ v).transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH)
        self.attn = SelfAttention()
        self.ln_2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, WIDTH)
        self.wpe = nn.Embedding(BLOCK, WIDTH)
        self.h = nn.Sequential(Block(), Block())
        self.lm_head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, idx, targets):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        logits = self.lm_head(self.h(x))
        return logits, F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def build_model() -> nn.Module:
    return GPT()


def loader():
    tokens = sentences(BLOCK + 1, VOCABULARY)
    return batches(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), size=16)
