"""Damaged training scripts against the static pass: `python tests/benchmarks/fuzz.py SECONDS [--seed N]`, run by hand.

Seeds are the catalogue's examples and the fixtures. Each round damages one of them - tokens and lines that are dropped,
repeated, swapped or taken from another script, notebooks with broken cells -, scans it with every rule and all advice,
treats some, and writes the report in every format. What raises, hangs, is told as an error of our own or cannot be read
back is counted once a place, and kept with `--keep FOLDER`. With `--guided`, coverage leads (needs `atheris`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import damage

ROOT = Path(__file__).parents[2]
HANG = 30  # seconds of CPU for one program; the slowest example of the catalogue takes less than one
TREATED = 0.1  # share of the programs that are treated too, which scans each several times
NOTEBOOKS = 0.15  # share of the programs that are written as notebooks
OBEYED = set("\x1b\x07\x00\x08\x9b\u202e\u2028")  # what a terminal obeys
MAX_LENGTH = 20_000  # characters of a program, so that crossing over does not grow them without end


class Hang(BaseException):
    """A program that took too long; no Exception, so that nothing on the way swallows it."""


@dataclass(slots=True)
class Tally:
    """What a run came to."""

    keep: Path | None
    programs: int = 0
    findings: int = 0
    slowest: float = 0.0
    problems: dict[str, int] = field(default_factory=dict)

    def note(self, error: BaseException, files: dict[str, str]) -> None:
        """Count a problem by its kind and place; the program of the first of each is kept."""
        place = _innermost(error)
        known = self.problems.get(place, 0)
        self.problems[place] = known + 1
        if not known:
            print(f"\nproblem {len(self.problems)}: {place}: {str(error)[:300]}", flush=True)
            if self.keep is not None:
                write(self.keep / f"problem{len(self.problems)}", files)


def main() -> int:
    options = _options()
    os.environ["NNDOCTOR_DEBUG"] = "1"
    warnings.simplefilter("ignore")
    tally = Tally(options.keep)
    started = time.monotonic()
    if options.guided:
        _guided(options, tally)
    chance = random.Random(options.seed)
    seeds = [*catalogue_examples(), *fixtures()]
    while time.monotonic() - started < options.seconds:
        examine(damaged(chance, seeds), tally, treated=chance.random() < TREATED)
    _tell(tally, time.monotonic() - started)
    return 1 if tally.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the programs that show a problem")
    parser.add_argument("--guided", action="store_true", help="let coverage lead")
    return parser.parse_args()


def _tell(tally: Tally, seconds: float) -> None:
    print(
        f"{tally.programs} programs in {seconds:.0f} s, {tally.findings} findings, slowest {tally.slowest:.1f} s, "
        f"{len(tally.problems)} problems"
    )
    for place, times in tally.problems.items():
        print(f"  {times} times {place}")


# Programs


def catalogue_examples() -> list[dict[str, str]]:
    """The good and the bad examples of every rule of the static pass, each with its files."""
    from nndoctor.catalog import load_rules

    rules = [rule for rule in load_rules() if rule.passes == "static"]
    return [{"main.py": it.code, **it.files} for rule in rules for it in (*rule.bad, *rule.good)]


def fixtures() -> list[dict[str, str]]:
    """The scripts in fixtures/, one by one."""
    return [{"main.py": path.read_text(encoding="utf-8")} for path in sorted((ROOT / "fixtures").rglob("*.py"))]


def damaged(chance: random.Random, seeds: Sequence[dict[str, str]]) -> dict[str, str]:
    """One of the seeds, damaged with pieces of another."""
    files = dict(chance.choice(seeds))
    name = chance.choice(sorted(files))
    other = chance.choice(seeds)["main.py"]
    files[name] = damage.program(chance, files[name], other)[:MAX_LENGTH]
    if name == "main.py" and chance.random() < NOTEBOOKS:
        files["main.ipynb"] = damage.notebook(chance, files.pop(name))
    return files


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))


# Scans


def examine(files: dict[str, str], tally: Tally, treated: bool) -> None:
    """Scan the files in a folder of their own, and note what goes wrong."""
    with tempfile.TemporaryDirectory() as name, _deadline():
        folder = Path(name)
        write(folder, files)
        tally.programs += 1
        started = time.process_time()
        try:
            tally.findings += _examined(folder, treated)
        except (Exception, Hang) as error:
            tally.note(error, files)
        tally.slowest = max(tally.slowest, time.process_time() - started)


def _examined(folder: Path, treated: bool) -> int:
    """How many findings there are; raises for whatever is not as it should be."""
    from nndoctor.report.output import FORMATS
    from nndoctor.requests import ScanRequest
    from nndoctor.scan.engine import scan
    from nndoctor.scan.treatment import treat

    request = ScanRequest(paths=(folder,), root=folder, pedantic=True)
    report = treat(request, unsafe=True).report if treated else scan(request)
    ours = [failure.message for failure in report.failures if failure.code is None]
    if ours:
        raise AssertionError(ours[0])
    for name in FORMATS:
        _check_format(report, name)
    return len(report.findings)


def _check_format(report: object, name: str) -> None:
    """Written in that format, the report can be read back, and a terminal obeys nothing of it."""
    from nndoctor.report.output import Style, write

    stream = io.StringIO()
    write(report, Style(name, "never"), stream)
    text = stream.getvalue()
    if name in ("json", "sarif", "gitlab"):
        json.loads(text)
    elif name == "junit":
        ElementTree.fromstring(text)
    if OBEYED & set(text):
        raise AssertionError(f"{name} holds {sorted(OBEYED & set(text))}")


@contextmanager
def _deadline() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise Hang(f"not done after {HANG} s of CPU")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _innermost(error: BaseException) -> str:
    """The kind of the error and the last line of ours that it came through; of a hang, that is any."""
    if isinstance(error, Hang):
        return "Hang"
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "nndoctor" in Path(frame.filename).parts]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].name}:{ours[-1].lineno}" if ours else "elsewhere"
    return f"{type(error).__name__} at {place}"


# Guided by coverage


def _guided(options: argparse.Namespace, tally: Tally) -> NoReturn:
    """Let libFuzzer choose which programs to damage further: those that reach new code. Ends the process."""
    import atheris

    with atheris.instrument_imports(include=["nndoctor"]):
        import nndoctor.scan.interpreter.run
        import nndoctor.scan.rules  # noqa: F401
    texts = [files["main.py"] for files in (*catalogue_examples(), *fixtures())]
    corpus = Path(tempfile.mkdtemp(prefix="nndoctor-fuzz-"))
    write(corpus, {str(number): text for number, text in enumerate(texts)})
    started = time.monotonic()

    def one(data: bytes) -> None:
        if time.monotonic() - started > options.seconds:
            shutil.rmtree(corpus)
            _tell(tally, time.monotonic() - started)
            sys.stdout.flush()
            os._exit(1 if tally.problems else 0)  # an exception would count as a crash of what is examined
        examine({"main.py": data.decode("utf-8", "replace")}, tally, treated=False)

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        text = damage.program(chance, data.decode("utf-8", "replace"), chance.choice(texts))
        return text.encode("utf-8", "surrogatepass")[:max_size]

    limits = [f"-seed={options.seed + 1}", f"-max_len={MAX_LENGTH}", "-timeout=3600", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one, custom_mutator=mutated)
    atheris.Fuzz()
    raise AssertionError("atheris does not return")


if __name__ == "__main__":
    sys.exit(main())
