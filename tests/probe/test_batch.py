"""Batches: any structure, any loader, any form of DATA."""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from making import labels, points
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from transformers import BatchEncoding

from nndoctor.probe.batch import clone, leaves, map_tensors, take, tensors, versions
from nndoctor.probe.batches import Batches, fetch
from nndoctor.probe.data import DEFAULT_BATCH_SIZE, open_data
from nndoctor.probe.errors import EntrypointError, SubjectError

CPU = torch.device("cpu")
Pair = namedtuple("Pair", ["x", "y"])


@dataclass(frozen=True)
class Record:
    image: Tensor
    name: str


STRUCTURES: dict[str, tuple[Any, list[str]]] = {
    "tensor": (torch.ones(3), [""]),
    "tuple": ((torch.ones(3), torch.zeros(3)), ["0", "1"]),
    "list of lists": ([[torch.ones(3)], torch.zeros(3)], ["0.0", "1"]),
    "named tuple": (Pair(torch.ones(3), torch.zeros(3)), ["x", "y"]),
    "dictionary": ({"a": torch.ones(3), "b": "text", "c": {"d": torch.ones(1)}}, ["a", "c.d"]),
    "ordered dictionary": (OrderedDict(a=torch.ones(3)), ["a"]),
    "default dictionary": (defaultdict(list, a=torch.ones(3)), ["a"]),
    "batch encoding": (BatchEncoding({"input_ids": torch.ones(3)}), ["input_ids"]),
    "dataclass": (Record(torch.ones(3), "cat"), ["image"]),
    "packed sequence": (pack_sequence([torch.ones(3), torch.ones(2)]), ["data"]),
    "no tensor at all": (("a", 1, None), []),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_copy_has_the_same_structure_and_no_common_memory(name: str) -> None:
    batch, paths = STRUCTURES[name]
    copy = clone(batch)
    assert type(copy) is type(batch)
    assert [path for path, _ in leaves(batch)] == paths
    assert [path for path, _ in leaves(copy)] == paths
    for mine, theirs in zip(tensors(copy), tensors(batch), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()


def test_what_is_no_tensor_stays_as_it_is() -> None:
    doubled = map_tensors(lambda tensor: 2 * tensor, {"x": torch.ones(2), "name": "cat", "size": 3})
    assert doubled["name"] == "cat"
    assert doubled["size"] == 3
    assert doubled["x"].tolist() == [2, 2]


def test_a_change_in_place_is_seen() -> None:
    batch = (torch.ones(2), torch.ones(3))
    before = versions(batch)
    batch[1].add_(1)
    assert versions(batch) != before


def test_examples_are_taken_along_the_dimension_that_counts_them() -> None:
    batch = {"time first": torch.arange(12).view(3, 4), "labels": torch.arange(4), "constant": torch.ones(2)}
    few = take(batch, [0, 2], 4)
    assert few["time first"].tolist() == [[0, 2], [4, 6], [8, 10]]
    assert few["labels"].tolist() == [0, 2]
    assert few["constant"].tolist() == [1, 1]


# -------------------------------------------------------------------------------------------------- loaders


def test_an_infinite_loader_is_read_no_further_than_needed() -> None:
    numbers = itertools.count()
    batches = fetch((torch.full((2,), number) for number in numbers), 3, CPU, seconds=60)
    assert [int(batch[0]) for batch in batches.kept] == [0, 1, 2]
    assert next(numbers) == 3
    assert not batches.exhausted


@pytest.mark.parametrize(("stated", "size"), [(8, 8), (1, None), (None, None)])
def test_the_loader_says_how_large_its_batches_are(stated: int | None, size: int | None) -> None:
    items = TensorDataset(torch.zeros(16, 3))
    assert fetch(DataLoader(items, batch_size=stated), 2, CPU, seconds=60).size == size
    assert fetch([torch.zeros(8, 3)], 2, CPU, seconds=60).size is None


def test_a_loader_that_cannot_be_restarted_serves_every_probe() -> None:
    batches = fetch(iter([torch.zeros(2), torch.ones(2)]), 8, CPU, seconds=60)
    assert batches.exhausted
    assert [int(batch[0]) for batch in batches.first()] == [0, 1]
    assert [int(batch[0]) for batch in batches.first(1)] == [0]
    assert [int(batch[0]) for batch in batches.cycle(5)] == [0, 1, 0, 1, 0]


def test_changes_of_a_batch_stay_with_the_one_who_made_them() -> None:
    batches = Batches((torch.zeros(2),), exhausted=True)
    batches.first()[0].add_(1)
    next(batches.cycle(1)).add_(1)
    assert batches.first()[0].tolist() == [0, 0]


def test_a_slow_loader_is_given_up_after_the_first_batch() -> None:
    assert len(fetch([torch.zeros(2)] * 9, 9, CPU, seconds=0).kept) == 1


def test_an_empty_loader_is_an_error_that_says_so() -> None:
    with pytest.raises(SubjectError, match="the data gave no batch"):
        fetch([], 3, CPU, seconds=60)


def test_workers_of_a_loader_are_stopped() -> None:
    loader = DataLoader(TensorDataset(torch.arange(64)), batch_size=2, num_workers=1, persistent_workers=True)
    batches = fetch(loader, 2, CPU, seconds=60)
    assert len(batches) == 2
    assert loader._iterator is not None
    assert not any(worker.is_alive() for worker in loader._iterator._workers)


def test_arrays_become_tensors_of_the_type_that_models_expect() -> None:
    batch = fetch([{"x": np.zeros((2, 3)), "y": np.arange(2), "names": np.array(["a", "b"])}], 1, CPU, 60).kept[0]
    assert (batch["x"].dtype, batch["y"].dtype) == (torch.float32, torch.int64)
    assert batch["names"].tolist() == ["a", "b"]


# ------------------------------------------------------------------------------------------- forms of DATA


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.zeros(100, 3))


class Indexed:
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(3)


def dataset() -> TensorDataset:
    return TensorDataset(points(), labels())


FORMS: dict[str, tuple[Callable[[], Any], int, bool]] = {
    "loader": (lambda: DataLoader(dataset(), 8), 8, False),
    "factory of a loader": (lambda: lambda: DataLoader(dataset(), 8), 8, False),
    "map-style data set": (dataset, 32, False),
    "iterable data set": (Stream, DEFAULT_BATCH_SIZE, False),
    "class of a data set": (lambda: Stream, DEFAULT_BATCH_SIZE, False),
    "data set without the base class": (Indexed, DEFAULT_BATCH_SIZE, False),
    "list of batches": (lambda: [(points(4), labels(4))] * 2, 4, False),
    "list of batches without targets": (lambda: [points(4), points(4)], 4, False),
    "generator": (lambda: ((points(4), labels(4)) for _ in range(2)), 4, False),
    "one batch as a tuple": (lambda: (points(4), labels(4)), 4, False),
    "one batch as a list": (lambda: [points(4), labels(4)], 4, False),
    "one batch as a dictionary": (lambda: {"x": points(4), "train": labels(4)}, 4, False),
    "one batch with nested inputs": (lambda: ((points(4), points(4)), labels(4)), 4, False),
    "one tensor": (lambda: points(4), 4, False),
    "training and validation": (lambda: (DataLoader(dataset(), 8), DataLoader(dataset(), 8)), 8, True),
    "lists of training and validation batches": (lambda: ([(points(4), labels(4))], [(points(4), labels(4))]), 4, True),
    "dictionary of data sets": (lambda: {"train": dataset(), "val": dataset()}, 32, True),
    "data module": (
        lambda: SimpleNamespace(
            prepare_data=lambda: None,
            setup=lambda stage: None,
            train_dataloader=lambda: DataLoader(dataset(), 8),
            val_dataloader=lambda: DataLoader(dataset(), 8),
        ),
        8,
        True,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_data_gives_batches(name: str) -> None:
    make, size, has_validation = FORMS[name]
    loaders = open_data(make(), "train:data")
    batch = fetch(loaders.train, 1, CPU, seconds=60).kept[0]
    assert tensors(batch)[0].shape[0] == size
    assert (loaders.validation is not None) is has_validation


@pytest.mark.parametrize("value", [3, "data.csv", None])
def test_what_is_no_data_is_refused(value: Any) -> None:
    with pytest.raises(EntrypointError, match=r"`train:data` gives an object of type .*: it must be a DataLoader"):
        open_data(value, "train:data")
