"""The forms in which users write models, data and losses: whole files as they are found, probed as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from making import mlp
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nndoctor.probe.batches import fetch
from nndoctor.probe.data import open_data
from nndoctor.probe.errors import EntrypointError, SubjectError
from nndoctor.probe.models import build_model

CPU = torch.device("cpu")


def points() -> TensorDataset:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :10].argmax(1))


# -------------------------------------------------------------------------------------------------- models


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.5)


def test_what_comes_with_the_model_is_told_apart_by_its_type() -> None:
    model, loss = mlp(), nn.CrossEntropyLoss()
    optimizer = adam(model)
    for others in ((loss, optimizer), (optimizer, loss), (loss, adam)):
        built = build_model(lambda others=others: (model, *others), "f")
        assert built.loss is loss
        assert built.optimizer is (adam if adam in others else optimizer)
    assert build_model(lambda: (model, torch.optim.Adam), "f").optimizer is torch.optim.Adam
    assert build_model(lambda: [model, optimizer], "f").loss is None


def test_arguments_for_a_model_that_takes_none_are_refused() -> None:
    with pytest.raises(EntrypointError, match="--arg hidden: `m:net` is no class or function that takes arguments"):
        build_model(mlp(), "m:net", {"hidden": "3"})


# ---------------------------------------------------------------------------------------------------- data


class Sequence:
    """The old protocol: indices are counted up until one is missing."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 3:
            raise IndexError
        return points()[index * 8 : index * 8 + 8]


def test_a_sequence_without_a_length_is_read_to_its_end() -> None:
    batches = fetch(open_data(Sequence(), "d").train, 8, CPU, 9.0)
    assert (len(batches), batches.exhausted) == (3, True)


def test_a_list_of_two_loaders_is_a_pair() -> None:
    train, validation = DataLoader(points(), 8), DataLoader(points(), 4)
    loaders = open_data(lambda: [train, validation], "d")
    assert (loaders.train, loaders.validation) == (train, validation)


class Images(Dataset):
    def __getitem__(self, index: int) -> Tensor:
        raise FileNotFoundError(f"{index}.png")

    def __len__(self) -> int:
        return 64


class Ragged(Images):
    def __getitem__(self, index: int) -> Any:
        return {"input_ids": list(range(index + 1)), "label": 0}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_raises_is_blamed_wherever_it_runs(workers: int) -> None:
    with pytest.raises(SubjectError, match=r"^batch 0 of the data cannot be read at \S*test_forms.py:\d+: FileNotFoun"):
        fetch(DataLoader(Images(), 8, num_workers=workers), 4, CPU, 9.0)


def test_examples_of_several_sizes_need_a_collate_function() -> None:
    with pytest.raises(SubjectError, match="name a DataLoader whose collate_fn makes tensors of such examples"):
        fetch(DataLoader(Ragged(), 8), 4, CPU, 9.0)


# ----------------------------------------------------------------------------------------------- frameworks


class Training(nn.Module):
    """As a LightningModule: it owns its loss, its optimizer and perhaps its data."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return adam(self)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(points(), 8)


class Prepared:
    """As a LightningDataModule: there is nothing to load before `setup`."""

    def prepare_data(self) -> None:
        self.ready = True

    def setup(self, stage: str) -> None:
        assert self.ready
        self.data = points()

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.data, 8)

    def val_dataloader(self) -> list[DataLoader]:
        return [DataLoader(self.data, 4), DataLoader(self.data, 2)]


class MisconfigurationException(Exception):  # noqa: N818  (lightning's name for it)
    pass


class Alone(Prepared):
    def val_dataloader(self) -> Any:
        raise MisconfigurationException("`val_dataloader` must be implemented to be used")


@pytest.mark.parametrize(("made", "validation"), [(Training, None), (Prepared, 4), (Prepared(), 4), (Alone, None)])
def test_modules_of_data_are_prepared_as_a_trainer_would(made: Any, validation: int | None) -> None:
    loaders = open_data(made, "d")
    assert loaders.train.batch_size == 8
    assert getattr(loaders.validation, "batch_size", None) == validation
