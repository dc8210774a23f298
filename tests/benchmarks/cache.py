"""What a second run costs, and how a first one scales: `python tests/benchmarks/cache.py`, run by hand.

Prints figures of whole processes over copies of `fixtures/`. The limits: a second run over 100 files takes at most
0.15 s of CPU; a first one over 1,000 files gets faster with the cores, and in one process needs at most 300 MB.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "fixtures"
ROUNDS = 10  # the least of them is printed: the machine adds noise, never speed


class Cost(NamedTuple):
    """Of one process with its children: CPU and clock in seconds, memory of the largest in MB."""

    cpu: float
    clock: float
    memory: float


def make_tree(folder: Path, files: int) -> None:
    """A repository of that many scripts: copies of the fixtures, in projects of their own."""
    scripts = sorted(path for path in FIXTURES.rglob("*.py") if "probe" not in path.parts)
    copies = ((number, script) for number in itertools.count() for script in scripts)
    for number, script in itertools.islice(copies, files):
        copy = folder / f"copy{number}" / script.relative_to(FIXTURES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(script, copy)
    (folder / ".gitignore").write_text("__pycache__/\n")


def cost(folder: Path, *options: str) -> Cost:
    """Of one scan, with the bytecode of the doctor cached as an installed tool has it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "nndoctor", "scan", "--output-format", "concise", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024)


def warm_figures(folder: Path, files: int) -> None:
    """A run that has nothing to examine."""
    make_tree(folder, files)
    first = cost(folder)
    second = min(cost(folder) for _ in range(ROUNDS))
    print(f"{files} files: first run {first.cpu:.2f} s CPU, second {second.cpu:.3f} s")


def cold_figures(folder: Path, files: int) -> None:
    """Runs that have everything to examine, by one process and by several."""
    make_tree(folder, files)
    cores = len(os.sched_getaffinity(0))
    for jobs in sorted({1, 2, cores}):
        found = cost(folder, "--no-cache", "--jobs", str(jobs))
        print(f"{files} files, --jobs {jobs}: {found.clock:.1f} s, {found.cpu:.1f} s CPU, {found.memory:.0f} MB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        warm_figures(Path(folder) / "small", 100)
        cold_figures(Path(folder) / "large", 1000)
