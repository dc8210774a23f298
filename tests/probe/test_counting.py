"""The number of examples of a batch, told from the tensors and from what the loader says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import zoo
from isolated import checked, floats, tokens
from torch import nn

from nndoctor.probe.counting import likely_sizes

N, T, D = 16, 12, 5  # examples, time steps, features


@pytest.mark.parametrize("name", ["language_model_sequence_first", "language_model_batch_first"])
def test_targets_a_step_later_tell_which_dimension_is_time(name: str) -> None:
    batch = zoo.subject(name).batches.kept[0]
    assert likely_sizes(batch) == [16]


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        ([floats(N, D), tokens(N)], [N]),
        ([floats(T, N, D), tokens(N)], [N]),
        ([floats(N, T, D), tokens(N)], [N]),
        ([floats(N, T, D), floats(N, T)], [N, T]),
        ([floats(N, 1, T), floats(N, 1, T)], [N]),
        ([floats(T, N, D), tokens(N), tokens(N)], [N]),
        ([floats(T), floats(N, T), floats(N, T)], [N, T]),
        ([tokens(N, T), torch.ones(T, T).tril().long(), tokens(N)], [N]),
        ([tokens(N, T), torch.arange(T)[None], tokens(N, T)], [N, T]),
        ([tokens(T, N), tokens(T * N)], [T, N]),
        ([floats(N, N), tokens(N)], [N]),
        ([floats(N, N), floats(N, N)], [N]),
        ([floats(N, D), tokens(2, 40), tokens(N)], [N]),
        ([tokens(1, T), tokens(1, T)], [1, T]),
        ([floats(1, 3, 8, 8), tokens(1)], [1]),
        ([torch.tensor(3.0)], []),
        (["text"], []),
    ],
    ids=lambda value: " ".join(str(tuple(getattr(part, "shape", ()))) for part in value) if value else "none",
)
def test_the_number_of_examples_is_found(batch: list[Any], sizes: list[int]) -> None:
    assert likely_sizes(batch) == sizes


def test_flat_targets_tell_time_too() -> None:
    words = torch.randint(1, 26, (T + 1, N))
    assert likely_sizes([words[:-1], words[1:].reshape(-1)]) == [N]
    assert likely_sizes([words.t()[:, :-1], words.t()[:, 1:].reshape(-1)]) == [N]
    lstm, embed = nn.LSTM(8, 8), nn.Embedding(26, 8)
    _, findings = checked(lambda x: lstm(embed(x))[0].view(-1, 8), words[:-1], targets=words[1:].reshape(-1))
    assert findings == []


@pytest.mark.parametrize(
    ("hint", "sizes"),
    [(N, [N]), (T, [T]), (N + 1, [N, T]), (None, [N, T])],
    ids=["examples first", "time first", "a last batch", "not stated"],
)
def test_the_loader_decides_where_the_tensors_leave_it_open(hint: int | None, sizes: list[int]) -> None:
    assert likely_sizes([floats(N, T, D), floats(N, T)], hint) == sizes


def test_the_tensors_decide_where_the_loader_is_wrong() -> None:
    assert likely_sizes([floats(N, T, D), tokens(N)], T) == [N]
