"""The loader shifts the labels by one, and GPT-2 shifts them again: it learns the token after the next."""

from torch.utils.data import DataLoader

from ..data import generator, sentences
from ..healthy.gpt2 import build_model as build_model
from ..healthy.gpt2 import optimizer as optimizer


def loader():
    data = [{"input_ids": row[:-1], "labels": row[1:]} for row in sentences(length=15)]  # <- sick
    return DataLoader(data, batch_size=16, shuffle=True, generator=generator(1))
