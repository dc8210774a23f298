"""What is shown of a batch and of the first layer: small, in the right form, and nothing where nothing can be drawn."""

from __future__ import annotations

import base64
import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from isolated import floats, subject_of, tokens
from torch import Tensor, nn

from nndoctor.exhibits import Exhibit, Pictures, Signals, Table, Tokens
from nndoctor.probe.errors import EntrypointError
from nndoctor.probe.pictures import POINTS, SIDE
from nndoctor.probe.showing import EXAMPLES, TOKENS, find_decoder, shown
from nndoctor.probe.subject import Subject, Task


class Anything(nn.Module):
    def __init__(self, first: nn.Module | None = None) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: Any, y: Any = None) -> Any:
        return x


def shown_of(*inputs: Any, targets: Any = None, first: nn.Module | None = None, decode: Any = None) -> Any:
    subject = subject_of(Anything(first), *inputs, targets=targets)
    return shown(subject, decode)


def only(exhibits: tuple[Exhibit, ...]) -> Any:
    (exhibit,) = exhibits
    return exhibit


def bytes_of(pictures: Pictures) -> list[bytes]:
    return [base64.b64decode(pixels) for pixels in pictures.pixels]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((16, 3, 20, 24), Pictures),
        ((16, 20, 24, 3), Pictures),
        ((16, 1, 9, 9), Pictures),
        ((16, 13, 9, 9), Pictures),
        ((16, 3, 5, 9, 9), Pictures),
        ((16, 5, 3, 9, 9), Pictures),
        ((16, 28, 28), Pictures),
        ((16, 2, 1000), Signals),
        ((16, 50, 6), Signals),
        ((16, 784), Signals),
        ((16, 8), Table),
        ((16,), Table),
    ],
)
def test_the_form_follows_from_the_shape(shape: tuple[int, ...], kind: type) -> None:
    exhibit = only(shown_of(floats(*shape))[0])
    assert isinstance(exhibit, kind)
    assert exhibit.title == "x"
    assert str(shape) in exhibit.caption


@pytest.mark.parametrize("shape", [(16, 3, 300, 100), (16, 1, 64, 65), (16, 100, 2000, 3), (16, 3, 4, 500, 20)])
def test_pictures_are_small_and_few(shape: tuple[int, ...]) -> None:
    pictures = only(shown_of(floats(*shape))[0])
    assert max(pictures.width, pictures.height) == SIDE
    assert len(pictures.pixels) == EXAMPLES
    assert {len(pixels) for pixels in bytes_of(pictures)} == {pictures.width * pictures.height * pictures.channels}
    assert f"shown in {pictures.width} by {pictures.height} pixels" in pictures.caption


def test_a_picture_shows_the_values_as_they_are() -> None:
    values = torch.tensor([[[[-1.0, 0.0], [1.0, 3.0]]]]).repeat(2, 1, 1, 1)
    pictures = only(shown_of(values)[0])
    assert bytes_of(pictures)[0] == bytes([0, 64, 128, 255])
    assert "-1 is black, 3 is white" in pictures.caption


def test_pixels_keep_their_scale_and_colours_their_order() -> None:
    values = torch.randint(0, 256, (4, 3, 2, 2), dtype=torch.uint8)
    values[0] = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1)
    pictures = only(shown_of(values)[0])
    assert bytes_of(pictures)[0] == bytes([10, 20, 30] * 4)
    assert "0 is black, 255 is white" in pictures.caption


def test_what_is_not_finite_is_magenta() -> None:
    values = torch.ones(4, 1, 2, 2)
    values[0, 0, 0, 0] = float("nan")
    pictures = only(shown_of(values)[0])
    assert pictures.channels == 3
    assert bytes_of(pictures)[0][:6] == bytes([255, 0, 255, 255, 255, 255])
    assert "magenta" in pictures.caption


def test_long_signals_keep_their_extremes() -> None:
    values = torch.zeros(4, 1, 10_000)
    values[0, 0, 777] = 5.0
    values[0, 0, 9_000] = -3.0
    channel = only(shown_of(values)[0]).examples[0][0]
    assert len(channel) == POINTS
    assert (min(channel), max(channel)) == (-3.0, 5.0)


def test_sequences_that_come_first_are_turned() -> None:
    values = tokens(9, 16)
    subject = subject_of(Anything(), values, targets=tokens(16))
    exhibit = only(shown(subject, None)[0])
    assert isinstance(exhibit, Tokens)
    assert exhibit.rows[0] == tuple(values[:, 0].tolist())


def test_labels_stand_below_their_examples() -> None:
    pictures = only(shown_of(floats(16, 3, 8, 8), targets=torch.arange(16))[0])
    assert pictures.labels[:3] == ("label 0", "label 1", "label 2")
    rows = only(shown_of(floats(16, 4), targets=torch.arange(16).float().reshape(16, 1) / 3)[0])
    assert rows.labels[:2] == ("target 0", "target 0.3333")


def test_other_targets_are_shown_themselves() -> None:
    _, masks = shown_of(floats(6, 3, 8, 8), targets=tokens(6, 8, 8, high=5))[0]
    assert (type(masks), masks.title) == (Pictures, "target")


def test_tokens_are_decoded_where_they_are_no_mask() -> None:
    ids, mask = tokens(4, 100), torch.ones(4, 100, dtype=torch.long)
    text, bits = shown_of(ids, mask, decode=lambda token: f"<{token}>")[0]
    assert len(text.rows[0]) == TOKENS
    assert text.pieces[0][0] == f"<{text.rows[0][0]}>"
    assert bits.pieces == ()


def test_a_token_that_cannot_be_decoded_is_left_blank() -> None:
    text = only(shown_of(tokens(4, 5), decode=lambda token: {}[token])[0])
    assert text.pieces[0] == ("",) * 5


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(4, 4).to_sparse(),
        torch.ones(4, 3, dtype=torch.complex64),
        torch.ones(4, 2, 2, 2, 2, 2),
        torch.ones(4, 1, 0, 5),
        "text",
    ],
    ids=["sparse", "complex", "six dimensions", "empty", "no tensor"],
)
def test_nothing_is_shown_of_what_cannot_be_drawn(value: Any) -> None:
    assert shown_of(value)[0] == ()


def test_what_cannot_be_read_does_not_stop_a_check_up() -> None:
    def split(batch: Any) -> Any:
        raise RuntimeError("a tensor of a strange subclass")

    broken = Subject(Anything(), subject_of(Anything(), floats(4, 4)).batches, split, None, None, Task())
    assert shown(broken, None) == ((), ())


def test_nothing_of_the_subject_changes() -> None:
    values = floats(8, 3, 100, 100)
    before = values.clone()
    layer = nn.Conv2d(3, 8, 3)
    weight = layer.weight.detach().clone()
    state = torch.get_rng_state()
    shown_of(values, first=layer)
    assert torch.equal(values, before)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_filters_of_a_convolution() -> None:
    layer = nn.Conv2d(3, 40, 5)
    filters = only(shown_of(floats(4, 3, 8, 8), first=layer)[1])
    assert (filters.title, filters.width, filters.channels, len(filters.pixels)) == ("first", 5, 3, 32)
    assert "the first 32 filters of (40, 3, 5, 5)" in filters.caption


def test_filters_of_many_channels_show_the_first() -> None:
    filters = only(shown_of(floats(4, 7, 8, 8), first=nn.Conv2d(7, 4, 3))[1])
    assert filters.channels == 1
    assert "input channel 0 of 7" in filters.caption


def test_filters_of_signals_and_of_flattened_pictures() -> None:
    assert isinstance(only(shown_of(floats(4, 2, 100), first=nn.Conv1d(2, 4, 5))[1]), Signals)
    filters = only(shown_of(floats(4, 1, 6, 7), first=nn.Linear(42, 3))[1])
    assert (filters.width, filters.height, len(filters.pixels)) == (7, 6, 3)


@pytest.mark.parametrize("first", [None, nn.Linear(8, 4), nn.Conv2d(3, 8, 1), nn.Embedding(30, 4)])
def test_layers_without_a_shape_show_no_filters(first: nn.Module | None) -> None:
    assert shown_of(floats(4, 8), first=first)[1] == ()


class WithDecode:
    def decode(self, ids: list[int]) -> str:
        return f"piece {ids[0]}"


@pytest.mark.parametrize("named", [WithDecode(), WithDecode, partial(WithDecode)], ids=["object", "class", "factory"])
def test_a_tokenizer_is_an_entrypoint(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made_tokenizer")
    vars(module)["tokenizer"] = named
    monkeypatch.setitem(sys.modules, "made_tokenizer", module)
    decode = find_decoder("made_tokenizer:tokenizer")
    assert decode is not None
    assert decode(7) == "piece 7"


def test_a_tokenizer_without_decode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "made_tokenizer", SimpleNamespace(tokenizer=[1]))  # type: ignore[arg-type]
    with pytest.raises(EntrypointError, match=r"type list, which has no `decode`"):
        find_decoder("made_tokenizer:tokenizer")


def test_labels_are_not_tokens_of_the_input() -> None:
    exhibits: tuple[Tensor, ...] = shown_of(floats(8, 4), targets=tokens(8, 6))[0]
    assert [type(exhibit).__name__ for exhibit in exhibits] == ["Table", "Tokens"]
