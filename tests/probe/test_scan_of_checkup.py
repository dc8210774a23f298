"""What a check-up asks the static pass: of which files, about which lines, and what the report makes of it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import subject_of_source

from nndoctor.findings import Report
from nndoctor.probe.checkup import checkup
from nndoctor.probe.executed import executed_lines
from nndoctor.probe.scanned import scanned
from nndoctor.requests import ProbeRequest, ScanRequest

SCRIPT = """
import torch
from torch import nn

loss = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.001), nn.BatchNorm1d(32), nn.ReLU()
        )
        self.spare = nn.Linear(32, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.body(x))

    def predict(self, x):
        return self(x).softmax(1)


def build_model():
    return Net()


def loader():
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    return [(x[:32], x[:32, :3].argmax(1)), (x[32:], x[32:, :3].argmax(1))]
"""


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SCRIPT.splitlines(), start=1) if text in line)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return path


def test_lines_are_those_of_the_forward_and_of_what_makes_the_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = executed_lines(subject_of_source(tmp_path, SCRIPT)).values()
    assert {line_of("self.spare = "), line_of("return self.head"), line_of("class Net")} <= {*lines}
    assert not {line_of("self(x).softmax"), line_of("def build_model") + 1} & {*lines}


def test_the_tracer_that_was_there_stays(tmp_path: Path) -> None:
    made = subject_of_source(tmp_path, SCRIPT)
    before = sys.gettrace()
    executed_lines(made)
    assert sys.gettrace() is before


def test_the_scan_reads_the_files_with_their_advice(script: Path) -> None:
    found = scanned(["script.py"], ScanRequest((), script.parent))
    assert {"ND403", "ND408"} <= {finding.code for finding in found}
    assert {finding.location.path for finding in found if finding.location} == {"script.py"}


@pytest.mark.parametrize(
    "settings",
    [{"ignore": frozenset({"ND408"})}, {"per_file_ignores": {"script.py": frozenset({"ND408"})}}],
    ids=["everywhere", "in this file"],
)
def test_what_the_user_ignores_stays_ignored(script: Path, settings: dict[str, Any]) -> None:
    found = scanned(["script.py"], ScanRequest((), script.parent, **settings))
    assert "ND403" in {finding.code for finding in found}
    assert "ND408" not in {finding.code for finding in found}


def test_no_file_and_no_readable_file_are_no_findings(tmp_path: Path) -> None:
    assert scanned([], ScanRequest((), tmp_path)) == ()
    assert scanned(["missing.py"], ScanRequest((), tmp_path)) == ()


@pytest.fixture
def report(script: Path) -> Callable[..., Report]:
    def run(**options: object) -> Report:
        entries = {"model": "script.py:build_model", "data": "script.py:loader", "loss": "script.py:loss"}
        return checkup(ProbeRequest(root=script.parent, effort="quick", **(entries | options)), lambda text: None)  # type: ignore[arg-type]

    return run


def test_a_checkup_confirms_and_withdraws_what_the_scan_says(report: Callable[..., Report]) -> None:
    found = report(ignore=frozenset({"NDP03", "NDP06", "NDP07", "NDP17"}))
    (unused,) = found.findings
    assert (unused.code, unused.cause, unused.rank) == ("NDP08", "never used", 1)
    assert any("this confirms ND408" in step.message for step in unused.evidence)
    assert any(note.startswith("ND403") and "withdrawn" in note for note in found.notes)


def test_who_asks_for_certain_probes_gets_no_scan(report: Callable[..., Report]) -> None:
    found = report(select=frozenset({"NDP02", "NDP08"}))
    assert [finding.evidence for finding in found.findings] == [()]
    assert not any("scan" in note for note in found.notes)
