"""Several processes that examine: they say what one would say, and what becomes of them costs nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs import notebook, write

import nndoctor
from nndoctor.errors import UserError
from nndoctor.findings import Report
from nndoctor.requests import ScanRequest
from nndoctor.scan import engine, pool
from nndoctor.scan.pool import Died, side_by_side

SICK = "import torch\nfrom torch.nn import functional as F\n\nF.cross_entropy(torch.softmax(x, 1), y)\n"
MODEL = "import torch\ndef net(x): return torch.softmax(x, 1)\nloss = torch.nn.CrossEntropyLoss()\n"
FATAL = "import torch  # fatal\n"

pytestmark = pytest.mark.usefixtures("no_debugging")


@pytest.fixture
def no_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNDOCTOR_DEBUG", raising=False)


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    raise UserError(f"{number} is no number")


def sleep(number: int) -> int:
    time.sleep(600)
    return number


def tell(number: int) -> tuple[int, int]:
    return number, os.getpid()


# The processes


def test_each_item_is_worked_on_once_in_some_process() -> None:
    results = dict(side_by_side(tell, range(10), 3))
    assert [results[number][0] for number in range(10)] == list(range(10))
    assert os.getpid() not in {process for _, process in results.values()}


def test_they_may_be_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere but on Linux."""
    monkeypatch.setattr(pool.sys, "platform", "elsewhere")
    assert dict(side_by_side(round, [1.2, 2.7], 2)) == {1.2: 1, 2.7: 3}


def test_one_that_dies_costs_what_it_was_at() -> None:
    results = dict(side_by_side(die, range(8), 2))
    assert results == {number: number for number in range(8)} | {3: Died(-signal.SIGKILL)}


def test_all_may_die() -> None:
    assert dict(side_by_side(die, [3], 1)) == {3: Died(-signal.SIGKILL)}


def test_what_the_user_did_wrong_is_raised_here() -> None:
    with pytest.raises(UserError, match="is no number"):
        list(side_by_side(refuse, range(4), 2))


def children() -> set[int]:
    return {process.pid for process in pool.multiprocessing.active_children() if process.pid is not None}


def test_none_is_left_when_the_work_is_done_or_given_up() -> None:
    assert len(list(side_by_side(square, range(4), 2))) == 4
    assert children() == set()
    with closing(side_by_side(die_or_sleep, [3, 4, 5], 3)) as results:
        assert next(results) == (3, Died(-signal.SIGKILL))
        assert len(children()) == 2
    assert children() == set()


def die_or_sleep(number: int) -> int:
    return die(number) if number == 3 else sleep(number)


# The scan


def tree(folder: Path) -> None:
    """Files of every kind, in 20 parts."""
    for number in range(17):
        write(folder, {f"{number % 5}/{number}.py": SICK * (number + 1)})
    write(
        folder,
        {
            "b.py": "import torch\nfrom model import net, loss\nloss(net(x), y)\n",
            "model.py": MODEL,
            "bad.py": "import torch\ndef f(:\n",
            "a.ipynb": notebook([SICK, "x = (\n", "y = 1  # nndoctor: ignore[ND101]"]),
        },
    )


def scan(folder: Path, jobs: int, **options: Any) -> Report:
    request: dict[str, Any] = {"paths": (folder,), "root": folder, "pedantic": True, **options}
    return replace(engine.scan(ScanRequest(jobs=jobs, **request)), seconds=0.0)


def test_the_report_is_the_same_with_any_number_of_processes(tmp_path: Path) -> None:
    tree(tmp_path)
    alone = scan(tmp_path, 1)
    assert {finding.code for finding in alone.findings} >= {"ND101", "ND001", "ND002"}
    assert [scan(tmp_path, jobs) for jobs in (2, 4)] == [alone, alone]


def test_and_with_a_cache(tmp_path: Path) -> None:
    tree(tmp_path)
    alone = scan(tmp_path, 1)
    assert [scan(tmp_path, jobs, cache=tmp_path / "cache") for jobs in (2, 2, 1)] == [alone] * 3


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many processes were wanted, for each time that some were."""
    wanted: list[int] = []

    def noted(work: Any, items: Any, processes: int) -> Any:
        wanted.append(processes)
        return side_by_side(work, items, processes)

    monkeypatch.setattr(pool, "side_by_side", noted)
    return wanted


def test_few_files_are_examined_here(tmp_path: Path, started: list[int]) -> None:
    for number in range(15):
        write(tmp_path, {f"{number}.py": SICK})
    scan(tmp_path, 2)
    assert started == []
    write(tmp_path, {"15.py": SICK})
    scan(tmp_path, 2)
    assert started == [2]


def test_only_what_is_not_remembered_counts(tmp_path: Path, started: list[int]) -> None:
    tree(tmp_path)
    scan(tmp_path, 1, cache=tmp_path / "cache")
    write(tmp_path, {"1/1.py": SICK})
    scan(tmp_path, 2, cache=tmp_path / "cache")
    assert started == []


def test_a_process_that_dies_costs_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path)
    healthy = scan(tmp_path, 1)
    write(tmp_path, {"0/0.py": FATAL})
    examine = engine.examine

    def fatal(part: Any, *rest: Any) -> Any:
        if any(Path(file).read_text() == FATAL for file in part.files):
            os.kill(os.getpid(), signal.SIGKILL)
        return examine(part, *rest)

    monkeypatch.setattr(engine, "examine", fatal)
    report = scan(tmp_path, 2, cache=tmp_path / "cache")
    left = tuple(finding for finding in healthy.findings if finding.location.path != "0/0.py")
    assert report.findings == left
    [failure] = [failure for failure in report.failures if failure.code is None]
    assert failure.location.path == "0/0.py"
    assert "killed" in failure.message
    assert report.files == healthy.files
    monkeypatch.setattr(engine, "examine", examine)
    assert len(scan(tmp_path, 1, cache=tmp_path / "cache").failures) == len(healthy.failures), "it is not remembered"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_goes_wrong_costs_its_part_with_any_number(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    write(tmp_path, {"0/0.py": FATAL})
    examine = engine.examine

    def broken(part: Any, *rest: Any) -> Any:
        if any(Path(file).read_text() == FATAL for file in part.files):
            raise ValueError("out of order")
        return examine(part, *rest)

    monkeypatch.setattr(engine, "examine", broken)
    failures = [failure for failure in scan(tmp_path, jobs).failures if failure.code is None]
    assert [failure.location.path for failure in failures] == ["0/0.py"]
    assert "ValueError: out of order" in failures[0].message


def test_interrupted_it_ends_at_once_with_all_its_processes(tmp_path: Path) -> None:
    heavy = "".join(f"def f{n}(x, g=None):\n    return torch.softmax(g(x) + {n}, 1)\n" for n in range(700))
    for number in range(32):
        write(tmp_path, {f"{number}.py": f"import torch\n{heavy}"})
    run = subprocess.Popen(
        [sys.executable, "-m", "nndoctor", "scan", "--jobs", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while run.poll() is None and not list((tmp_path / ".nndoctor_cache").glob("*.json")):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    out, complaints = run.communicate()
    assert (run.returncode, out, complaints) == (130, "", "")
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)
