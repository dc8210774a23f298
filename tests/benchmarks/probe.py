"""What each probe costs on a small CNN: `python tests/benchmarks/probe.py [EFFORT]`, run by hand.

Prints the CPU seconds of each probe, beside those of the bare forwards, backwards and optimizer steps that it ran, and
the CPU of the whole check-up as a process. The limit: the quick effort takes at most 20 s.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nndoctor.probe.subject import Subject

ROOT = Path(__file__).parent.parent.parent
ZOO = ROOT / "fixtures" / "probe"
CNN = "cnn"
ROW = "{:6} {:20} {:>8} {:>8} {:>6} {:>9}"


def probe_figures(effort: str) -> None:
    """CPU of each probe in this process, after one run to warm up."""
    sys.path[0] = str(ROOT / "tests" / "probe")  # not this folder: this file would hide the package of the zoo
    import torch
    import zoo

    from nndoctor.probe.effort import EFFORTS
    from nndoctor.probe.registry import examine, load_probes

    torch.set_num_threads(1)
    subject = zoo.subject(CNN)
    print(ROW.format("code", "probe", "CPU s", "bare s", "ratio", "forwards"))
    for code in load_probes():
        with noted_forwards(subject.model) as forwards:
            examine(code, subject, EFFORTS[effort])
        started = time.process_time()
        result, _ = examine(code, subject, EFFORTS[effort])
        whole = time.process_time() - started
        alone = bare(subject, forwards)
        ratio = f"{whole / alone:.2f}" if alone else "-"
        print(ROW.format(code, result.name, f"{whole:.3f}", f"{alone:.3f}", ratio, len(forwards)))


@contextmanager
def noted_forwards(model: nn.Module) -> Iterator[list[tuple[Tensor, bool]]]:
    """The inputs of the model's forwards, and whether each recorded a graph; also of copies of the model."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    noted: list[tuple[Tensor, bool]] = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        if type(module) is type(model):
            noted.append((torch.rand(args[0].shape), torch.is_grad_enabled()))

    hook = register_module_forward_pre_hook(note)
    yield noted
    hook.remove()


def bare(subject: Subject, forwards: list[tuple[Tensor, bool]]) -> float:
    """CPU of the same forwards, each with backward and a step of the optimizer where it recorded a graph."""
    import copy

    import torch

    model = copy.deepcopy(subject.model).train()
    optimizer = torch.optim.Adam(model.parameters())
    started = time.process_time()
    for inputs, trains in forwards:
        with torch.set_grad_enabled(trains):
            loss = model(inputs).square().mean()
        if trains:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.process_time() - started


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
