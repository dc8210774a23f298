"""What the static pass costs beside the parse: `python tests/benchmarks/scan.py FOLDER [SCRIPT]`, run by hand.

Prints CPU seconds. The limits: the pass over a folder at most 1.35 times the parse alone; a script of 340 lines as a
whole process at most 0.35 s.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libcst as cst

from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan
from nndoctor.scan.files import discover
from nndoctor.scan.source import mentions_torch, read_source

ROUNDS = 5  # the least of them is printed: the machine adds noise, never speed


def cpu(work: Callable[[], object]) -> float:
    """The least CPU time of a few rounds, collector off."""
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
        gc.enable()
    return min(times)


def folder_figures(folder: Path) -> None:
    """The parse alone, the whole pass, and their ratio."""
    paths = [path for path in discover((folder,), folder) if mentions_torch(path.read_bytes())]
    texts = [read_source(path, folder).text for path in paths]
    parse = cpu(lambda: [cst.parse_module(text) for text in texts])
    whole = cpu(lambda: scan(ScanRequest(paths=(folder,), root=folder)))
    lines = sum(text.count("\n") for text in texts)
    print(f"{folder.name}: {len(paths)} files, {lines} lines")
    print(f"  parse alone {parse:.2f} s, whole pass {whole:.2f} s, ratio {whole / parse:.2f}")


def script_figures(script: Path) -> None:
    """CPU, user and system, of `nndoctor scan SCRIPT` as a process."""
    command = [sys.executable, "-m", "nndoctor", "scan", str(script)]
    times = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"}, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    print(f"{script}: {script.read_text().count(chr(10))} lines, {min(times):.2f} s as a process")


if __name__ == "__main__":
    folder_figures(Path(sys.argv[1]).resolve())
    for name in sys.argv[2:]:
        script_figures(Path(name))
