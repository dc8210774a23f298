"""Data as values: datasets, splits, transforms and estimators are known to whoever uses them later."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run

from nndoctor.scan.interpreter.data import OPEN, RANDOM_PART
from nndoctor.scan.interpreter.estimators import FITTED, SPLITS
from nndoctor.scan.rules import pipelines
from nndoctor.scan.values import Lib, Value

DATA = """
import math
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import datasets, transforms as T
data = datasets.CIFAR10("x", True, T.Compose([T.RandomCrop(32, 4), T.RandomHorizontalFlip(0.0), T.ToTensor()]))
"""


def values(folder: Path, script: str) -> tuple[Value, ...]:
    """What `math.hypot` is given in a script."""
    (call,) = run(folder, script).calls("math.hypot")
    return tuple(call.details["args"].positional)


def test_a_split_keeps_the_dataset_and_its_transform(tmp_path: Path) -> None:
    (part,) = values(tmp_path, DATA + "train, test = random_split(data, [9, 1])\nmath.hypot(test)\n")
    assert type(part) is Lib and part.args["indices"].op == RANDOM_PART
    assert pipelines.split_of(pipelines.whole(part)) is True
    (transform,) = pipelines.transforms_of(part)
    assert [step.name for step in pipelines.steps(transform)] == ["RandomCrop", "RandomHorizontalFlip", "ToTensor"]
    assert [step.name for step in pipelines.random_steps(transform)] == ["RandomCrop"]


def test_a_transform_that_is_set_later_counts(tmp_path: Path) -> None:
    (part,) = values(
        tmp_path, DATA + "part = Subset(data, [0])\npart.dataset.transform = T.ToTensor()\nmath.hypot(part)\n"
    )
    assert [transform.name for transform in pipelines.transforms_of(part)] == ["ToTensor"]


def test_arguments_that_nobody_can_see_are_remembered(tmp_path: Path) -> None:
    script = (
        DATA + "def make(options):\n    return DataLoader(data, **options), DataLoader(data)\nmath.hypot(*make(x))\n"
    )
    hidden, plain = values(tmp_path, script)
    assert OPEN in hidden.attrs and pipelines.is_given(hidden, "shuffle")
    assert OPEN not in plain.attrs and not pipelines.is_given(plain, "shuffle")


@pytest.mark.parametrize(
    ("crop", "random"),
    [
        ("T.Resize(32), T.RandomCrop(32)", False),
        ("T.Resize(36), T.RandomCrop(32)", True),
        ("T.Resize(32), T.RandomCrop(32, padding=4)", True),
        ("T.ColorJitter()", False),
        ("T.RandomApply([T.GaussianBlur(3)], p=0.0)", False),
        ("T.RandomApply([T.GaussianBlur(3)])", True),
    ],
)
def test_only_what_draws_is_random(tmp_path: Path, crop: str, random: bool) -> None:
    (transform,) = values(tmp_path, DATA + f"math.hypot(T.Compose([{crop}, T.ToTensor()]))\n")
    assert bool(pipelines.random_steps(transform)) is random


def test_an_estimator_remembers_what_it_was_fitted_on(tmp_path: Path) -> None:
    script = """
import math
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
import numpy as np
train, test = train_test_split(np.load("x.npy"))
scaler = StandardScaler().fit(train)
math.hypot(train, test, scaler.transform(test))
"""
    train, test, scaled = values(tmp_path, script)
    assert (train.op, test.op) == SPLITS and train.inputs[0] is test.inputs[0]
    assert scaled.op == FITTED and scaled.inputs[0] is test and scaled.info["on"] is train
