"""What the static pass costs beside the parse: `python tests/benchmarks/scan.py FOLDER [SCRIPT...]`, run by hand.

Prints CPU seconds. The limits: the pass over a folder at most 1.35 times the parse alone; as whole processes, a script
of 340 lines at most 0.35 s, and the folder at most a tenth of what TorchFix takes. TorchFix and ruff, which does other
work and shows the scale, are run if they are on the PATH: `pip install torchfix ruff`.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libcst as cst

from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan
from nndoctor.scan.files import discover
from nndoctor.scan.source import read_source
from nndoctor.scan.survey import mentions_torch

ROUNDS = 8  # the least of them is printed: the machine adds noise, never speed


def cpu(*works: Callable[[], object]) -> list[float]:
    """The least CPU time of each work over a few rounds, in which they take turns; collector off."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            gc.collect()
            gc.disable()
            started = time.process_time()
            work()
            taken.append(time.process_time() - started)
            gc.enable()
    return list(map(min, times))


def folder_figures(folder: Path) -> None:
    """The parse alone, the whole pass, and their ratio."""
    paths = [path for path in discover((folder,), folder) if mentions_torch(path.read_bytes())]
    texts = [read_source(path, folder).text for path in paths]
    parse, whole = cpu(
        lambda: [cst.parse_module(text) for text in texts],
        lambda: scan(ScanRequest(paths=(folder,), root=folder)),
    )
    lines = sum(text.count("\n") for text in texts)
    print(f"{folder.name}: {len(paths)} files, {lines} lines")
    print(f"  parse alone {parse:.2f} s, whole pass {whole:.2f} s, ratio {whole / parse:.2f}")


def process_figures(folder: Path, scripts: list[Path]) -> None:
    """CPU of whole processes: ours over each script and over the folder, and the other tools over the folder."""
    ours = [sys.executable, "-m", "nndoctor", "scan", "--no-cache", "--jobs", "1"]
    for script in scripts:
        lines = script.read_text().count("\n")
        print(f"{script}: {lines} lines, {process_cpu([*ours, str(script)], ROUNDS):.2f} s as a process")
    print(f"{folder.name} as a process: nndoctor {process_cpu([*ours, str(folder)], 3):.2f} s")
    for tool, options in {"torchfix": ["--select", "ALL"], "ruff": ["check", "--no-cache"]}.items():
        if shutil.which(tool) is None:
            print(f"  {tool} is not on the PATH")
        else:
            print(f"  {tool} {process_cpu([tool, *options, str(folder)], 1):.2f} s")


def process_cpu(command: list[str], rounds: int) -> float:
    """The least CPU, user and system, of a process, its bytecode cached as an installed tool has it."""
    environment = {**os.environ, "NO_COLOR": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(times)


if __name__ == "__main__":
    wanted = Path(sys.argv[1]).resolve()
    folder_figures(wanted)
    process_figures(wanted, [Path(name) for name in sys.argv[2:]])
