"""The forms in which users write models, data and losses, and labels that no output stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from making import measured, mlp, subject
from test_frameworks import Training, adam, bert, points
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from nndoctor.probe.batches import fetch
from nndoctor.probe.data import open_data
from nndoctor.probe.errors import EntrypointError, SubjectError
from nndoctor.probe.models import build_model

CPU = torch.device("cpu")


# -------------------------------------------------------------------------------------------------- models


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


# -------------------------------------------------------------------------------------------------- losses


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kind, self.size = nn.Linear(16, 10), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.kind(x), self.size(x)


def of_batch(outputs: Any, batch: Any) -> Tensor:
    return F.cross_entropy(outputs[0], batch["kind"]) + F.mse_loss(outputs[1], batch["size"])


def of_targets(outputs: Any, kind: Tensor, size: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], kind) + F.mse_loss(outputs[1], size)


def of_outputs(logits: Tensor, y: Tensor, size: Tensor) -> Tensor:
    return F.cross_entropy(logits, y) + size.square().mean()


@pytest.mark.parametrize(
    ("loss", "targets", "way"),
    [
        (of_batch, None, "outputs and the batch"),
        (of_targets, "kind,size", "outputs and each target"),
        (of_outputs, "kind", "each output and the targets"),
    ],
)
def test_a_loss_is_called_as_its_signature_asks(loss: Any, targets: str | None, way: str) -> None:
    x, y = points()[:8]
    batch = {"x": x, "kind": y, "size": x[:, :1]}
    request = {"inputs": "x", **({"targets": targets} if targets else {})}
    made = subject(build_model=TwoHeads, loader=lambda: [batch], loss=loss, request=request)
    assert made.loss_origin == f"`{loss.__name__}`, called with {way}"
    kind, size = made.model(x)
    expected = of_outputs(kind, y, size) if loss is of_outputs else of_batch((kind, size), batch)
    assert made.compute_loss(made.model, batch)[0].item() == pytest.approx(expected.item())


# ----------------------------------------------------------------------------------- labels without outputs


class Narrow(Training):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(classes=9)


def stepped(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


LOSSES: dict[str, dict[str, Any]] = {
    "inferred": {},
    "given": {"loss": nn.CrossEntropyLoss()},
    "step": {"step": stepped},
    "training step": {"build_model": Narrow},
}


@pytest.mark.parametrize("name", LOSSES)
def test_labels_outside_the_outputs_are_a_finding(name: str) -> None:
    options = {"build_model": lambda: mlp(classes=9), "loader": lambda: DataLoader(points(), 32), **LOSSES[name]}
    made = subject(**options)
    assert "labels: those outside the 9 outputs were read as the nearest" in made.notes
    _, (finding,) = measured("NDP11", made)
    assert finding.message == "the targets of batch 0 hold 9, and the model has 9 outputs, numbered from 0"
    result, findings = measured("NDP03", made)
    assert (findings, result.status) == ([], "ok")


def test_labels_that_the_loss_ignores_stay_as_they_are() -> None:
    x, y = points()[:32]
    y = y.clone()
    y[:3], y[5] = 255, 12
    options = {"loss": nn.CrossEntropyLoss(ignore_index=255), "build_model": mlp, "loader": lambda: [(x, y)]}
    made = subject(**options)
    assert made.strange is not None
    assert (made.strange.label, made.strange.classes) == (12, 10)
    assert made.batches.kept[0][1][:6].tolist() == [255, 255, 255, y[3], y[4], 9]
    y[5] = 0
    assert subject(**options).strange is None


def test_labels_that_a_library_model_has_no_output_for_are_a_finding() -> None:
    batch = {"input_ids": torch.arange(64).view(8, 8) % 30, "labels": torch.arange(8) % 4}
    made = subject(build_model=bert, loader=lambda: [batch])
    assert made.loss_origin == "the model's own (cross-entropy)"
    assert made.strange is not None
    assert (made.strange.label, made.strange.classes) == (3, 3)
