"""What all tests share: one thread for each worker, so that they do not fight for the cores; the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | None, str, str]]:
    """Runs the console script in this process and a folder of its own: exit status, stdout, stderr."""
    from nndoctor.cli import main

    monkeypatch.chdir(tmp_path)

    def nndoctor(*arguments: str) -> tuple[int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["nndoctor", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return nndoctor
