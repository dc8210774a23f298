"""Traces: nothing stays of a check-up, no process, no file and no change, and the same seed gives the same report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nndoctor.probe import limits
from nndoctor.probe.limits import GB, memory_limit
from nndoctor.probe.scratch import LONGEST, SHORT, clear, make_scratch

PACKAGE = Path(limits.__file__).parents[2]
SOURCE = """
import multiprocessing, os, tempfile, time
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import helper

CONTEXT = None


class Points(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        with open(os.path.join(tempfile.gettempdir(), f"cache-{index}"), "w") as file:
            file.write("of a data set that keeps what it has read")
        return torch.randn(4), index % 3


class Stuck(Points):
    def __getitem__(self, index):
        super().__getitem__(index)
        with open(f"pid-{os.getpid()}", "w") as file:
            file.write(".")
        time.sleep(1000)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        return self.body(x)


class Hungry(Net):
    def forward(self, x):
        return self.body(x) + torch.zeros(600_000_000)[:3] * self.training


def loader():
    return DataLoader(Points(), 16, shuffle=True)


def workers():
    return DataLoader(Points(), 16, shuffle=True, num_workers=2, persistent_workers=True)


def stuck():
    return DataLoader(Stuck(), 16, num_workers=2, multiprocessing_context="METHOD")
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder with `train.py` and what it imports, and one for temporary files, whose names are short as usual."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "code").mkdir()
        (folder / "temporary").mkdir()
        (folder / "code" / "helper.py").write_text("value = 1\n")
        (folder / "code" / "train.py").write_text(SOURCE.replace("METHOD", "fork"))
        yield folder


def start(project: Path, data: str, *options: str, model: str = "Net") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nndoctor", "probe", f"train:{model}", "--data", f"train:{data}"]
    environment = {**os.environ, "TMPDIR": str(project / "temporary"), "PYTHONPATH": str(PACKAGE)}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.Popen(
        [*command, "--effort", "quick", "--output-format", "json", *options],
        cwd=project / "code",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def semaphores() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("sem.nndoctor-*")}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def without_timings(value: Any) -> Any:
    """The report without what a clock has measured."""
    if isinstance(value, dict):
        return {key: without_timings(part) for key, part in value.items() if key not in ("seconds", "timings")}
    return [without_timings(part) for part in value] if isinstance(value, list) else value


def test_a_check_up_leaves_no_file_and_the_same_seed_gives_the_same_report(project: Path) -> None:
    before = contents(project)
    select = ("--select", "NDP01,NDP03,NDP04,NDP08,NDP11,NDP13")
    said = [start(project, data, *select).communicate() for data in ("loader", "workers", "workers")]
    assert [error for _, error in said] == [""] * 3
    reports = [json.loads(out) for out, _ in said]
    assert contents(project) == before
    assert list((project / "temporary").iterdir()) == []
    assert [probe["status"] for probe in reports[1]["probes"]] == ["ok"] * 6
    assert without_timings(reports[1]) == without_timings(reports[2])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_when_a_loader_with_workers_hangs(project: Path, number: signal.Signals, method: str) -> None:
    train = project / "code" / "train.py"
    train.write_text(SOURCE.replace("METHOD", method))
    before = contents(project)
    process = start(project, "stuck")
    wait_until(lambda: len(pids(project)) == 2)
    workers = pids(project)
    assert all(map(is_alive, workers))
    process.send_signal(number)
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)))
    wait_until(lambda: not list((project / "temporary").iterdir()) and not semaphores())
    left = {name: content for name, content in contents(project).items() if not name.startswith("code/pid-")}
    assert left == before


def pids(project: Path) -> list[int]:
    return [int(path.name[4:]) for path in (project / "code").glob("pid-*") if path.read_text()]


# ------------------------------------------------------------------------------------------------- memory


def test_a_model_that_takes_too_much_memory_costs_its_own_result(project: Path) -> None:
    process = start(project, "loader", "--memory", "2", "--select", "NDP01,NDP04", model="Hungry")
    said = process.communicate()[1]
    assert process.returncode == 2
    assert "at train.py:41: not enough memory: 2.4 GB were asked for at once" in said


def test_the_limit_is_what_was_granted_or_a_share_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 4000000 kB\nMemAvailable: 2000000 kB\n")
    monkeypatch.setattr(limits, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    assert memory_limit(3, "cuda") == 3 * GB
    assert memory_limit(None, "cuda") is None
    assert memory_limit(None, "cpu") == int(0.9 * 2_000_000 * 1024)
    for name, text in {"current": "900", "max": "1000", "stat": "anon 1\ninactive_file 400"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory_limit(None, "cpu") == 450
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "meminfo").unlink()
    assert memory_limit(None, "cpu") is None


def test_the_scratch_has_a_short_name_wherever_temporary_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * LONGEST)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    scratch = make_scratch()
    clear(scratch)
    assert str(scratch.parent) == SHORT


def test_the_scratch_is_cleared_with_all_below_it() -> None:
    scratch = make_scratch()
    (scratch / "deep").mkdir()
    (scratch / "deep" / "file").write_text("x")
    clear(scratch)
    assert not scratch.exists()
