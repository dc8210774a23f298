"""Models and data of other libraries, as their users have them: Lightning, detectors of torchvision, transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from making import measured, mlp, subject
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from transformers import BatchEncoding, BertConfig, BertForSequenceClassification

from nndoctor.probe.data import open_data
from nndoctor.probe.errors import SubjectError


def points() -> TensorDataset:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :10].argmax(1))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.5)


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


def test_the_training_step_of_a_copy_is_that_of_the_copy() -> None:
    made = trained(Training)
    batch = made.batches.first(1)[0]
    other = copy.deepcopy(made.model)
    for parameter in other.parameters():
        parameter.data.zero_()
    assert made.compute_loss(other, batch)[0].item() == pytest.approx(2.3026, abs=1e-3)
    assert made.compute_loss(made.model, batch)[0].item() != pytest.approx(2.3026, abs=1e-3)


class TakesBatchOnly(Training):
    def training_step(self, batch: Any) -> dict[str, Any]:  # type: ignore[override]
        return {"loss": F.cross_entropy(self(batch[0]), batch[1]), "log": 1}


class ByHand(Training):
    automatic_optimization = False


class NeedsTrainer(Training):
    def training_step(self, batch: Any, index: int) -> Tensor:
        raise RuntimeError("NeedsTrainer is not attached to a `Trainer`.")


class WithoutForward(Training):
    forward = nn.Module.forward

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.body(batch[0]), batch[1])


class ConfiguredByTrainer(Training):
    def configure_optimizers(self) -> Any:
        raise RuntimeError("ConfiguredByTrainer is not attached to a `Trainer`.")


def trained(build: Callable[[], nn.Module]) -> Any:
    return subject(build_model=build, loader=lambda: DataLoader(points(), 8))


def test_a_training_step_may_take_the_batch_alone() -> None:
    assert trained(TakesBatchOnly).loss_origin == "the model's training_step (cross-entropy)"


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            ByHand,
            r"the model optimises by hand \(automatic_optimization = False\); no trainer .* give the loss with --",
        ),
        (NeedsTrainer, r"the model's training_step failed at \S+: RuntimeError: NeedsT.*; no trainer is at work here"),
    ],
)
def test_what_only_a_trainer_can_run_is_refused(build: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(SubjectError, match=sentence):
        trained(build)


def test_optimizers_that_need_a_trainer_are_left_out() -> None:
    made = trained(ConfiguredByTrainer)
    assert made.optimizer is None
    assert any(note.startswith("optimizer: none; `configure_optimizers` makes no optimizer at ") for note in made.notes)


@pytest.mark.parametrize("code", ["NDP04", "NDP08", "NDP10", "NDP19"])
def test_a_model_that_only_its_step_can_call_breaks_no_probe(code: str) -> None:
    result, findings = measured(code, trained(WithoutForward))
    assert findings == []
    assert result.status == ("ok" if code == "NDP08" else "skipped")


# ------------------------------------------------------------------------------------------------ detection


class Detector(nn.Module):
    """As torchvision's: a dictionary of losses in training, detections in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.kind, self.box = nn.Linear(8, 3), nn.Linear(8, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        features = torch.stack([self.features(image).relu().mean((1, 2)) for image in images])
        kinds, boxes = self.kind(features), self.box(features)
        if not self.training:
            return [{"boxes": box[None], "labels": kind.argmax()[None]} for box, kind in zip(boxes, kinds, strict=True)]
        if targets is None:
            raise ValueError("targets should not be none when in training mode")
        labels = torch.stack([target["labels"][0] for target in targets])
        corners = torch.stack([target["boxes"][0] for target in targets])
        return {"loss_classifier": F.cross_entropy(kinds, labels), "loss_box_reg": F.l1_loss(boxes, corners)}


class Boxes(Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        random, count = torch.Generator().manual_seed(index), 1 + index % 3
        boxes = torch.rand(count, 4, generator=random)
        return torch.randn(3, 8 + count, 8, generator=random), {
            "boxes": boxes,
            "labels": torch.full((count,), index % 3),
        }


def by_columns(examples: list[Any]) -> tuple[Any, ...]:
    return tuple(zip(*examples, strict=True))


@pytest.mark.parametrize("code", ["NDP01", "NDP03", "NDP04", "NDP08", "NDP10", "NDP11", "NDP13", "NDP20", "NDP24"])
def test_a_detector_is_probed_by_its_own_losses(code: str) -> None:
    made = subject(build_model=Detector, loader=lambda: DataLoader(Boxes(), 4, collate_fn=by_columns))
    assert made.notes[:2] == ("loss: the model's own", "batch: input: batch[0], batch[1]; target: batch[1]")
    result, findings = measured(code, made)
    assert findings == []
    assert result.status == ("skipped" if code in ("NDP04", "NDP20", "NDP24") else "ok")


# ------------------------------------------------------------------------------------------------- libraries


def bert() -> nn.Module:
    options = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForSequenceClassification(
        BertConfig(**options, intermediate_size=16, max_position_embeddings=16, num_labels=3)
    )


class Rows:
    """As a data set of `datasets`: rows by number, columns by name, several rows at once."""

    column_names = ("input_ids", "label")

    def __len__(self) -> int:
        return 32

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [self[index][key] for index in range(32)]
        return {"input_ids": list(range(1, 4 + key % 5)), "label": key % 3}

    def __getitems__(self, keys: list[int]) -> list[Any]:
        return [self[key] for key in keys]

    def __iter__(self) -> Any:
        return (self[index] for index in range(32))


def padded(rows: list[Any]) -> BatchEncoding:
    """As DataCollatorWithPadding: `label` becomes `labels`."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    labels = torch.tensor([row["label"] for row in rows])
    return BatchEncoding({"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels})


def test_rows_with_a_collate_function_feed_a_library_model() -> None:
    made = subject(build_model=bert, loader=lambda: DataLoader(Rows(), 8, shuffle=True, collate_fn=padded))
    parts = 'batch["input_ids"], batch["attention_mask"], batch["labels"]'
    assert made.notes[:2] == (
        "loss: the model's own (cross-entropy)",
        f'batch: input: {parts}; target: batch["labels"]',
    )
