"""What the user's script says of its loss and of its run, read from its source by the static pass in another process.

Started as `python -m nndoctor.probe.scripted QUESTION ROOT FILE...`; the process prints what it has found as JSON.
"""

from __future__ import annotations

import json
import linecache
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nndoctor.findings import Location
from nndoctor.probe.environment import environment
from nndoctor.scan.objective import objective_of
from nndoctor.scan.plan import Plan, plan_of

# A script takes a tenth of a second of CPU and the start of the process three; what takes ten times as long is none.
LONGEST_SCAN_CPU_S = 3
LONGEST_SCAN_S = 15.0  # on the clock, for a busy machine
LOGARITHM = re.compile(r"\blog(_softmax|sigmoid)?\s*\(|LogSoftmax|LogSigmoid")


@dataclass(frozen=True, slots=True)
class ScriptedLoss:
    """A loss of torch, and where the script applies it."""

    name: str
    options: Mapping[str, Any]
    location: Location

    @property
    def origin(self) -> str:
        """Which loss, and where it was found, for the report."""
        return f"{self.name}, found by the scan at {self.location.path}:{self.location.line}"

    @property
    def source_line(self) -> str | None:
        """The text of the line where it is applied."""
        return linecache.getline(self.location.path, self.location.line).rstrip("\n") or None

    @property
    def takes_logarithms(self) -> bool:
        """Whether the file that applies the loss applies some logarithm too."""
        return bool(LOGARITHM.search("".join(linecache.getlines(self.location.path))))

    def make(self) -> Any:
        """The loss as torch has it: the module, or the function with its options."""
        import torch.nn.functional as F  # noqa: N812  (here, because the process that scans goes without torch)
        from torch import nn

        if self.name[0].isupper():
            return getattr(nn, self.name)(**self.options)
        return partial(getattr(F, self.name), **self.options)


def find_scripted(paths: Sequence[Path], root: Path) -> ScriptedLoss | None:
    """The loss of the first of the files in which the scan finds one."""
    found = _ask("loss", paths, root)
    return found and ScriptedLoss(found["name"], found["options"], Location(**found["location"]))


def find_plan(paths: Sequence[Path], root: Path) -> Plan | None:
    """The run as the first of the files that says anything of it plans it."""
    found = _ask("plan", paths, root)
    return found and Plan(**found)


def _ask(question: str, paths: Sequence[Path], root: Path) -> Any:
    if not paths:
        return None
    command = [sys.executable, "-m", "nndoctor.probe.scripted", question, str(root), *map(str, paths)]
    try:
        done = subprocess.run(command, capture_output=True, env=environment(), timeout=LONGEST_SCAN_S, check=True)
    except (subprocess.SubprocessError, OSError):  # the check-up goes on as it does where the scan finds nothing
        return None
    return json.loads(done.stdout)


QUESTIONS: dict[str, Callable[[Path, Path], Any]] = {"loss": objective_of, "plan": plan_of}


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_SCAN_CPU_S, LONGEST_SCAN_CPU_S))
    answer = QUESTIONS[sys.argv[1]]
    root, *paths = map(Path, sys.argv[2:])
    found = next(filter(None, (answer(path, root) for path in paths)), None)
    print(json.dumps(found and asdict(found)))


if __name__ == "__main__":
    _main()
