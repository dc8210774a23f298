"""What a reader may see of the user's data and weights: a few examples, in sizes that a page can hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of one size, each the base64 text of its bytes, row by row, `channels` (1 or 3) bytes a pixel."""

    title: str  # what it is, for instance the name of the model's argument
    caption: str  # its type, its shape, and what stands for what
    width: int
    height: int
    channels: int
    pixels: tuple[str, ...]
    labels: tuple[str, ...] = ()  # one for each picture, or none


@dataclass(frozen=True, slots=True)
class Tokens:
    """Rows of token ids, and the same rows as the tokenizer reads them if the user gave one."""

    title: str
    caption: str
    rows: tuple[tuple[int, ...], ...]
    pieces: tuple[tuple[str, ...], ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signals:
    """Examples of one or more channels: example, channel, value."""

    title: str
    caption: str
    examples: tuple[tuple[tuple[float, ...], ...], ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Examples of a few features."""

    title: str
    caption: str
    rows: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...] = ()


Exhibit = Pictures | Tokens | Signals | Table
KINDS = {kind.__name__: kind for kind in (Pictures, Tokens, Signals, Table)}
