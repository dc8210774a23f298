"""`nndoctor scan --fix`, `--diff` and `--unsafe-fixes`: what is written, what is printed, how it exits."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SICK = "import torch.nn as nn\n\nnorm = nn.BatchNorm1d(8, 0.8)\n"
CURED = SICK.replace("0.8", "momentum=0.2")
UNSAFE = """import torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
loss = nn.CrossEntropyLoss()(net(torch.randn(2, 4)), torch.tensor([0, 1]))
report(net(torch.randn(1, 4)))
"""


def test_fix_writes_the_file_and_reports_what_is_left(run, tmp_path: Path) -> None:
    path = tmp_path / "gan.py"
    path.write_text(SICK, encoding="utf-8")
    status, out, _ = run("scan", "gan.py", "--fix")
    assert (status, path.read_text(encoding="utf-8")) == (0, CURED)
    assert "fixed 1 finding in 1 file" in out
    assert "Nothing to report." in out
    assert "nothing to fix" in run("scan", "gan.py", "--fix")[1]


def test_diff_shows_and_changes_nothing(run, tmp_path: Path) -> None:
    path = tmp_path / "gan.py"
    path.write_text(SICK, encoding="utf-8")
    status, out, err = run("scan", ".", "--diff")
    assert status == 1
    assert out.splitlines()[:2] == ["--- a/gan.py", "+++ b/gan.py"]
    assert {"-norm = nn.BatchNorm1d(8, 0.8)", "+norm = nn.BatchNorm1d(8, momentum=0.2)"} <= set(out.splitlines())
    assert err == "would fix 1 finding in 1 file\n"
    assert path.read_text(encoding="utf-8") == SICK
    path.write_text(CURED, encoding="utf-8")
    assert run("scan", ".", "--diff") == (0, "", "nothing to fix\n")


def test_unsafe_fixes_need_to_be_asked_for(run, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(UNSAFE, encoding="utf-8")
    status, out, _ = run("scan", "net.py", "--fix")
    assert (status, path.read_text(encoding="utf-8")) == (1, UNSAFE)
    assert "with --fix --unsafe-fixes" in out
    assert run("scan", "net.py", "--fix", "--unsafe-fixes")[0] == 0
    assert path.read_text(encoding="utf-8") == UNSAFE.replace(", nn.Softmax(dim=1)", "")


def test_unsafe_fixes_alone_mean_nothing(run) -> None:
    status, _, err = run("scan", "--unsafe-fixes")
    assert status == 2
    assert "add --fix or --diff" in err


def test_standard_input_comes_out_fixed(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(SICK.encode())))
    assert run("scan", "-", "--fix") == (0, CURED, "fixed 1 finding in 1 file\n")


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gan.py"
    path.write_text(SICK, encoding="utf-8")

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    status, _, err = run("scan", "gan.py", "--fix")
    assert status == 2
    assert "cannot write gan.py: Permission denied" in err
    assert path.read_text(encoding="utf-8") == SICK
