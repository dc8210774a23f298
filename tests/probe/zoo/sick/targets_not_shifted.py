"""The data set returns the same slice of the text as input and as target."""

from ..data import batches, sentences
from ..healthy.nanogpt import BLOCK, VOCABULARY
from ..healthy.nanogpt import build_model as build_model


def loader():
    tokens = sentences(BLOCK, VOCABULARY)
    return batches(tokens, tokens, size=16)  # <- sick
