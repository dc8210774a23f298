"""The log: a file of JSON lines, one a check-up, that several runs may append to at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from nndoctor.errors import UserError
from nndoctor.findings import Report
from nndoctor.history.commit import commit_of
from nndoctor.report.json import document

# Of a finding and of a probe, what another check-up is compared by; the evidence and the curves are in the reports.
OF_FINDING = (
    "code", "name", "severity", "confidence", "message", "path", "line", "column", "cell", "fingerprint",
    "measurements",
)  # fmt: skip
OF_PROBE = ("code", "name", "status", "measurements", "seconds")


def append(report: Report, log: Path) -> None:
    """Add a line for the check-up; raises UserError where the file cannot be written."""
    line = json.dumps(entry(report, log), allow_nan=False) + "\n"
    try:
        with log.open("ab+", buffering=0) as stream, _alone(stream):
            # A run that was killed, or a disk that was full, may have left half a line.
            stream.write((b"" if _ends_with_newline(stream) else b"\n") + line.encode("ascii"))
    except OSError as error:
        raise UserError(f"cannot append to {log}: {error.strerror or error}") from error


def entry(report: Report, log: Path) -> dict[str, Any]:
    """What the log keeps of a check-up: the JSON report without evidence and curves, and when and of what it is."""
    commit = commit_of(Path.cwd(), log)
    kept = document(report)
    kept["findings"] = [{key: finding[key] for key in OF_FINDING} for finding in kept["findings"]]
    kept["probes"] = [{key: probe[key] for key in OF_PROBE} for probe in kept["probes"]]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "git": {"commit": commit.name, "dirty": commit.dirty} if commit else None,
        **kept,
    }


@contextmanager
def _alone(stream: IO[bytes]) -> Iterator[None]:
    """While no other run appends, where the system has such locks; one write at the end of a file is whole anyway."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(stream, fcntl.LOCK_EX)
    yield  # closing the file unlocks it


def _ends_with_newline(stream: IO[bytes]) -> bool:
    if stream.seek(0, 2) == 0:
        return True
    stream.seek(-1, 2)
    return stream.read(1) == b"\n"
