"""The doctor beside other tools over the same gallery: `python tests/benchmarks/rivals.py [NAME...]`, run by hand.

Installs the others from the package index into an environment of their own (`--environment DIR` keeps and reuses it),
runs each over the sick and healthy modules of fixtures/probe, and prints who names which cause, who sees that something
is wrong, who misses it, who reports a healthy module, and at what cost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from rival_words import WORDS

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

sys.path[0] = str(ROOT / "tests" / "probe")  # not this folder: its `probe.py` would hide the package of the zoo
zoo = import_module("zoo")

GALLERY = ("torch==2.13.0", "numpy", "transformers")  # what the modules import
OURS = "nndoctor"
RIVALS = ("torchtest2", "neural-net-checklist", "torch-lr-finder", "torch-audit", "guardtower")
NAMED, DETECTED, MISSED, FALSE, QUIET, NOT_RUN = "named", "detected", "missed", "false", "quiet", "not run"


@dataclass(slots=True)
class Answer:
    """What one tool made of one module."""

    name: str
    told: list[str] = field(default_factory=list)  # checks, or causes of the doctor, in the order of the report
    cpu: float = 0.0
    error: str = ""

    def word(self, tool: str) -> str:
        """Named, detected or missed; false or quiet of a healthy module."""
        if self.error and not self.told:
            return NOT_RUN
        if self.name in zoo.HEALTHY:
            return FALSE if self.told else QUIET
        wanted = zoo.CAUSES[self.name]
        known = {check: word.causes for check, word in WORDS.get(tool, {}).items()}
        named = self.told[:1] == [wanted] if tool == OURS else any(wanted in known.get(it, ()) for it in self.told)
        return NAMED if named else DETECTED if self.told else MISSED


def main() -> None:
    options = _options()
    names = options.names or [*zoo.SICK, *zoo.HEALTHY][:: options.every]
    with tempfile.TemporaryDirectory() as scratch:
        python = install(options.environment or Path(scratch) / "environment", options.tools)
        rows = {}
        for tool in options.tools:
            if tool != OURS and not is_installed(python, tool):
                print(f"{tool} cannot be installed")
                continue
            rows[tool] = run(sys.executable if tool == OURS else python, tool, names)
            if options.verbose:
                _tell(tool, rows[tool])
    print(table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="modules of fixtures/probe; all by default")
    parser.add_argument("--environment", type=Path, help="where the others are installed, or shall be")
    parser.add_argument("--tools", nargs="+", default=[OURS, *RIVALS], choices=[OURS, *RIVALS])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth module")
    parser.add_argument("--verbose", action="store_true", help="a line for each module too")
    return parser.parse_args()


def install(folder: Path, tools: Iterable[str]) -> str:
    """Make the environment, or take what there is; each tool by itself, so that one that fails is the only one."""
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *GALLERY], check=True)
    for tool in tools:
        if tool != OURS and not is_installed(python, tool):
            subprocess.run([python, "-m", "pip", "install", "--quiet", tool, *GALLERY], check=False)
    return python


def is_installed(python: str, tool: str) -> bool:
    """Whether the environment holds the package."""
    asked = f"import importlib.metadata as m; m.version({tool!r})"
    return subprocess.run([python, "-c", asked], capture_output=True, check=False).returncode == 0


def run(python: str, tool: str, names: list[str]) -> list[Answer]:
    """One tool over the modules, on one core."""
    answers = {name: Answer(name, error="no answer") for name in names}
    command = [python, str(HERE / "rival_drivers.py"), tool, *names]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    for line in done.stdout.decode().splitlines():
        said = json.loads(line)
        answer = answers[said["name"]]
        if "check" in said:
            answer.told.append(said["check"])
        else:
            answer.cpu, answer.error = said["cpu"], said["error"]
    return list(answers.values())


def _tell(tool: str, answers: list[Answer]) -> None:
    for answer in answers:
        told = ", ".join(dict.fromkeys(answer.told))
        print(
            f"{tool:21} {answer.word(tool):9} {answer.name:32} {answer.cpu:6.1f} s  {told}  {answer.error}", flush=True
        )


def table(rows: dict[str, list[Answer]]) -> str:
    """A row a tool."""
    lines = [
        f"{'':21} {'sick':>5} {NAMED:>6} {DETECTED:>9} {MISSED:>7} {'healthy':>8} {FALSE:>6} {NOT_RUN:>8}  CPU a module"
    ]
    for tool, answers in rows.items():
        words = [answer.word(tool) for answer in answers]
        sick = Counter(word for word, it in zip(words, answers, strict=True) if it.name not in zoo.HEALTHY)
        count, healthy = Counter(words), len(answers) - sick.total()
        ran = [answer.cpu for answer, word in zip(answers, words, strict=True) if word != NOT_RUN]
        lines.append(
            f"{tool:21} {sick.total():5} {count[NAMED]:6} {count[DETECTED]:9} {count[MISSED] + sick[NOT_RUN]:7} "
            f"{healthy:8} {count[FALSE]:6} {count[NOT_RUN]:8}  {sum(ran) / max(len(ran), 1):.1f} s"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
