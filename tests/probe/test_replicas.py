"""NDP23: real processes under torchrun, on gloo; what they tell each other; and one report for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from making import mlp, subject
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, TensorDataset

import nndoctor
from nndoctor.catalog import Example, load_rule
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.ranks import Rank, current_rank
from nndoctor.probe.registry import examine
from nndoctor.probe.replicas import differing, fingerprint, read_share, weights_of
from nndoctor.probe.session import sandbox

RULE = load_rule("NDP23")
DEADLINE_S = 240
MESSAGES = {
    "every rank reads the whole data set": "each of the 2 ranks reads all 4096 examples in an epoch, no shard of them",
    "each rank begins with weights of its own, and nothing averages the gradients": "the 2 ranks begin with different "
    "weights: `0.weight` and 3 more of 4 parameters",
    "one seed for all ranks, and with it one augmentation": "the 2 ranks draw the same random numbers: what they add "
    "to an example is the same on each",
}


def torchrun(directory: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The check-up of `train.py` with this text, on two ranks."""
    (directory / "train.py").write_text(source)
    named = ("--optimizer", "train:optimizer") if "def optimizer(" in source else ()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nndoctor"]
    command += ["probe", "train:build_model", "--data", "train:loader", "--effort", "quick", *named, *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    done = torchrun(tmp_path, example.code, "--output-format", "json")
    report = json.loads(done.stdout)  # two reports would be no JSON
    (result,) = report["probes"]
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP23" in line]
    assert [finding["line"] for finding in report["findings"]] == marked
    assert [finding["message"] for finding in report["findings"]] == [MESSAGES[example.title] for _ in marked]
    assert (result["code"], result["status"]) == ("NDP23", "finding" if marked else "ok")
    assert result["measurements"]["ranks"] == 2
    assert result["measurements"]["parameters in shards"] == (4 if "fully_shard" in example.code else 0)
    assert done.returncode == bool(marked)


PLAIN = """
import os

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def build_model():
    return DistributedDataParallel(nn.Linear(16, 4))


def loader():
    random = torch.Generator().manual_seed(0)
    return [(x, x[:, :4].argmax(1)) for x in torch.randn(4, 32, 16, generator=random)]
"""


def test_ranks_that_are_given_the_same_batches_are_found(tmp_path: Path) -> None:
    report = json.loads(torchrun(tmp_path, PLAIN, "--output-format", "json").stdout)
    assert [finding["message"] for finding in report["findings"]] == ["all 2 ranks are given the same batches"]
    assert report["findings"][0]["confidence"] == "certain"


def test_what_one_rank_cannot_do_is_said_once(tmp_path: Path) -> None:
    refuses = PLAIN + "\n\nif os.environ['RANK'] == '1':\n    raise FileNotFoundError('shard-1.tar')\n"
    done = torchrun(tmp_path, refuses)
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("nndoctor: ")]
    assert said == ["nndoctor: error: rank 1: importing `train` failed at train.py:19: FileNotFoundError: shard-1.tar"]
    assert done.returncode != 0


# ------------------------------------------------------------------------------------------------- one process


def test_one_process_is_told_how_to_start_several() -> None:
    made = subject(build_model=mlp, loader=lambda: [(torch.randn(8, 16), torch.arange(8))])
    result, findings = examine("NDP23", made, EFFORTS["quick"])
    assert (findings, result.status) == ((), "skipped")
    assert result.summary == "one process; start several: torchrun --nproc-per-node 2 -m nndoctor probe ..."


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}, Rank(1, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}, None),
        ({"RANK": "1", "WORLD_SIZE": "2"}, None),
        ({"WORLD_SIZE": "auto"}, None),
        ({}, None),
    ],
)
def test_the_rank_is_read_from_the_environment(
    environment: dict[str, str], rank: Rank | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert current_rank() == rank


def test_a_parameter_that_differs_in_one_bit_is_named() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.load_state_dict(one.state_dict())
    assert differing([weights_of(one), weights_of(other)]) == []
    with torch.no_grad():
        other.bias[1].copy_(torch.nextafter(other.bias[1], torch.tensor(9.0)))
    assert differing([weights_of(one), weights_of(other)]) == ["bias"]


# ------------------------------------------------------------------------------------------------- shares


class Noisy(Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.randn(4), index


class Picky(Sampler[list[int]]):
    """Batches that say nothing of their size."""

    def __iter__(self) -> Any:
        return iter(torch.arange(64).view(8, 8).tolist())

    def __len__(self) -> int:
        return 8


def steady() -> TensorDataset:
    return TensorDataset(torch.arange(64.0)[:, None], torch.arange(64))


class Half(Sampler[int]):
    def __iter__(self) -> Any:
        return iter(range(0, 64, 2))

    def __len__(self) -> int:
        return 32


@pytest.mark.parametrize(
    ("loader", "epoch"),
    [
        (DataLoader(steady(), 8), 64),
        (DataLoader(steady(), 8, sampler=Half()), 32),
        (DataLoader(steady(), batch_sampler=BatchSampler(Half(), 8, False)), 32),
        (DataLoader(steady(), batch_sampler=Picky()), 64),
    ],
)
def test_a_loader_says_what_it_reads_in_an_epoch(loader: DataLoader, epoch: int) -> None:
    share = read_share(loader)
    assert share is not None
    assert (share.size, share.epoch, share.is_random) == (64, epoch, False)
    assert len(set(share.stable)) == 16


def test_examples_that_come_out_different_keep_what_is_the_same() -> None:
    torch.manual_seed(0)
    share = read_share(DataLoader(Noisy(), 8))
    assert share is not None
    assert share.is_random
    assert len(set(share.stable)) == 16
    again = read_share(DataLoader(Noisy(), 8))
    assert again is not None
    assert (again.stable == share.stable, again.first == share.first) == (True, False)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_seed_gives_the_same_examples(workers: int) -> None:
    shares = []
    for _ in range(2):
        torch.manual_seed(0)
        shares.append(read_share(DataLoader(Noisy(), 8, num_workers=workers)))
    assert shares[0] == shares[1]


def test_what_has_no_indices_has_no_share() -> None:
    assert read_share([1, 2]) is None
    assert read_share(DataLoader([torch.zeros(1)], 1)) is not None
    assert read_share(part for part in "ab") is None


def test_equal_content_has_equal_fingerprints() -> None:
    example = {"x": torch.ones(2), "name": "a"}
    assert fingerprint(example) == fingerprint({"x": torch.ones(2), "name": "b"})
    assert fingerprint(torch.ones(2)) != fingerprint(torch.ones(2, dtype=torch.float64))
    assert fingerprint("a") == fingerprint("a") != fingerprint("b")
    assert fingerprint(object()) == fingerprint(object())


# ------------------------------------------------------------------------------------------------- restoration


@pytest.fixture
def group(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_shards_are_put_back_bit_by_bit_and_still_run(group: DeviceMesh) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    fully_shard(model[0], mesh=group)
    fully_shard(model, mesh=group)
    before = [parameter.to_local().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        with sandbox(model, seed=0):
            model(torch.ones(3, 4)).sum().backward()
            optimizer.step()
            changed = [parameter.to_local() for parameter in model.parameters()]
            assert not any(map(torch.equal, before, changed))
        assert all(map(torch.equal, before, (parameter.to_local() for parameter in model.parameters())))
        with sandbox(model, seed=0), torch.no_grad():
            model(torch.ones(3, 4))  # which leaves the whole weights in place of the shards
        assert weights_of(model) == {}
