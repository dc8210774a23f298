"""What each probe costs on a small CNN: `python tests/benchmarks/probe.py [EFFORT]`, run by hand.

Prints the CPU seconds of each probe and the steps it ran, and of the whole check-up as a process. The limit: the quick
effort takes at most 20 s.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ZOO = ROOT / "tests" / "probe" / "zoo"
CNN = "cnn"


def probe_figures(effort: str) -> None:
    """CPU of each probe in this process, after one run to warm up."""
    sys.path.insert(0, str(ROOT / "tests" / "probe"))
    import torch
    import zoo

    from nndoctor.probe.effort import EFFORTS
    from nndoctor.probe.registry import examine, load_probes

    torch.set_num_threads(1)
    for warm in (True, False):
        subject = zoo.subject(CNN)
        for code in load_probes():
            started = time.process_time()
            result, _ = examine(code, subject, EFFORTS[effort])
            if not warm:
                print(f"{code} {result.name:20} {time.process_time() - started:6.3f} s, {result.steps} steps")


def process_figures(effort: str) -> None:
    """CPU, user and system, of the whole check-up as a process with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    entry = str(ZOO / "healthy" / f"{CNN}.py")
    command = [sys.executable, "-m", "nndoctor", "probe", f"{entry}:build_model", "--data", f"{entry}:loader"]
    subprocess.run([*command, "--effort", effort], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"whole check-up {after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime:.1f} s")


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "quick"
    probe_figures(wanted)
    process_figures(wanted)
