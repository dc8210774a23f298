"""The training scripts in fixtures/: the scan finds what their marks say and nothing else, and the healthy ones run."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from nndoctor.requests import ScanRequest

FIXTURES = Path(__file__).parent.parent / "fixtures"
# A case is a script, a notebook or a folder with a train.py; it lies in the folder of its kind. Those in probe/ are
# models for the other pass.
KINDS = sorted(path for path in FIXTURES.iterdir() if path.is_dir() and path.name != "probe")
HEALTHY = sorted(case for kind in KINDS for case in kind.glob("healthy*"))
SICK = sorted(case for kind in KINDS for case in kind.glob("sick*"))

MARK = re.compile(r"# <- (ND\d+)$")

# What the collection promises to hold, each in at least two kinds of script.
SEEDED = {
    *("ND101", "ND103", "ND105", "ND107", "ND113"),
    *("ND201", "ND202", "ND203", "ND205", "ND206", "ND207"),
    *("ND301", "ND302", "ND304", "ND306"),
    *("ND402", "ND403", "ND405", "ND501", "ND502", "ND601"),
}

# A twin that differs in more places than this is no twin any more; the most that two bugs have needed is 6.
MAX_EDITS = 6

# Shortest useful run of a script, where that is not one epoch.
QUICK = {
    "distillation": ["--epochs", "1", "--teacher-epochs", "1"],
    "dqn": ["--episodes", "16"],
    "gpt": ["--max_iters", "4"],
    "notebook": [],
    "pinn": ["--epochs", "1", "--lbfgs-steps", "1"],
    "ppo": ["--updates", "1"],
}
RUN_LIMIT_S = 120  # each takes a few seconds; a run that is stuck must not hold up the suite

# Tag that the tools which execute notebooks know.
SKIPPED_CELL = "skip-execution"


class Mark(NamedTuple):
    """Where a finding is expected, or was reported."""

    path: str
    cell: int | None
    line: int
    code: str


def name_of(case: Path) -> str:
    return case.relative_to(FIXTURES).as_posix()


def files_of(case: Path) -> list[Path]:
    return sorted(case.glob("*.py")) if case.is_dir() else [case]


def cells_of(path: Path) -> list[tuple[int | None, list[str]]]:
    """The lines of a script, or of each code cell of a notebook with the cell's number, counted from 1."""
    if path.suffix != ".ipynb":
        return [(None, path.read_text(encoding="utf-8").splitlines())]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        (number, "".join(cell["source"]).splitlines())
        for number, cell in enumerate(cells, start=1)
        if cell["cell_type"] == "code"
    ]


def marks_of(case: Path) -> set[Mark]:
    return {
        Mark(path.relative_to(case.parent).as_posix(), cell, number, match[1])
        for path in files_of(case)
        for cell, lines in cells_of(path)
        for number, line in enumerate(lines, start=1)
        if (match := MARK.search(line))
    }


def findings_of(case: Path) -> set[Mark]:
    from nndoctor.scan.engine import scan

    report = scan(ScanRequest(paths=(case,), root=case.parent))
    assert report.failures == ()
    assert report.files == len(files_of(case))
    places = [(finding.location, finding.code) for finding in report.findings]
    return {Mark(place.path, place.cell, place.line, code) for place, code in places if place is not None}


@pytest.mark.parametrize("case", HEALTHY, ids=name_of)
def test_nothing_is_reported_in_a_healthy_script(case: Path) -> None:
    assert marks_of(case) == set()
    assert findings_of(case) == set()


@pytest.mark.parametrize("case", SICK, ids=name_of)
def test_the_marks_of_a_sick_script_are_reported_and_nothing_else(case: Path) -> None:
    assert marks_of(case)
    assert findings_of(case) == marks_of(case)


def test_every_seeded_bug_occurs_in_two_kinds_of_script() -> None:
    kinds = defaultdict(set)
    for case in SICK:
        for mark in marks_of(case):
            kinds[mark.code].add(case.parent.name)
    assert set(kinds) == SEEDED
    assert {code for code, where in kinds.items() if len(where) < 2} == set()


@pytest.mark.parametrize("case", SICK, ids=name_of)
def test_a_sick_script_differs_from_its_healthy_twin_in_few_places(case: Path) -> None:
    twin = case.with_name("healthy" + case.suffix)
    assert [path.name for path in files_of(twin)] == [
        path.name.replace(case.stem, "healthy") for path in files_of(case)
    ]
    edits = 0
    for healthy, sick in zip(files_of(twin), files_of(case), strict=True):
        texts = [path.read_text(encoding="utf-8").splitlines() for path in (healthy, sick)]
        opcodes = difflib.SequenceMatcher(None, *texts, autojunk=False).get_opcodes()
        edits += sum(tag != "equal" for tag, *_ in opcodes)
    assert 0 < edits <= MAX_EDITS


def runnable(case: Path, directory: Path) -> Path:
    """The script to run: the case itself, its train.py, or the notebook's cells without magics and plots."""
    if case.is_dir():
        return case / "train.py"
    if case.suffix == ".py":
        return case
    lines = []
    for cell in json.loads(case.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and SKIPPED_CELL not in cell["metadata"].get("tags", []):
            lines += [line for line in "".join(cell["source"]).splitlines() if not line.startswith(("%", "!"))]
    script = directory / "notebook.py"
    script.write_text("\n".join(lines), encoding="utf-8")
    return script


def outcome_of(case: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """A run of the script, short."""
    return subprocess.run(
        [
            *(sys.executable, "-W", "error::UserWarning", str(runnable(case, directory))),
            *QUICK.get(case.parent.name, ["--epochs", "1"]),
        ],
        cwd=directory,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("case", HEALTHY, ids=name_of)
def test_a_healthy_script_runs_to_the_end(case: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = outcome_of(case, tmp_path)
    assert run.returncode == 0, run.stderr
    printed = (run.stdout + run.stderr).lower()
    assert "loss" in printed
    assert not re.search(r"\bnan\b", printed)


@pytest.mark.parametrize("case", SICK, ids=name_of)
def test_a_treated_script_does_what_its_healthy_twin_does(case: Path, tmp_path: Path) -> None:
    """To the last digit that they print; where something is left that no fix treats, it still runs."""
    from nndoctor.scan.treatment import treat, write

    copy = tmp_path / case.parent.name / case.name
    copy.parent.mkdir()
    (shutil.copytree if case.is_dir() else shutil.copy)(case, copy)
    treatment = treat(ScanRequest(paths=(copy,), root=tmp_path), unsafe=True)
    write(treatment, tmp_path)
    assert [finding for finding in treatment.report.findings if finding.fix] == []
    if treatment.changed:
        treated = outcome_of(copy, tmp_path)
        assert treated.returncode == 0, treated.stderr
        if not treatment.report.findings:
            twin = tmp_path / "twin"
            twin.mkdir()
            assert treated.stdout == outcome_of(case.with_name("healthy" + case.suffix), twin).stdout
