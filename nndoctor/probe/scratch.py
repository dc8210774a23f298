"""Scratch: where the processes of a check-up put temporary files, so that nothing stays of them however they end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

# Workers hand tensors over through sockets below, whose path may have 103 characters on macOS and 107 on Linux; the
# names of our directory, of multiprocessing's and of the socket take 50 of them. Beyond, a loader waits for ever.
LONGEST = 53
SHORT = "/tmp"
SEMAPHORES = Path("/dev/shm")  # where Linux shows the named ones


def make_scratch() -> Path:
    """A new directory, to be given to the processes as TMPDIR."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="nndoctor-", dir=usual if len(usual) <= LONGEST else SHORT))


def name_semaphores(scratch: Path) -> None:
    """Semaphores of workers that are not forked have names, which whoever clears the scratch must know."""
    from multiprocessing import process

    with contextlib.suppress(AttributeError, KeyError, TypeError):  # no public way leads there
        process.current_process()._config["semprefix"] = f"/{scratch.name}"  # type: ignore[attr-defined]


def clear(scratch: Path) -> None:
    """Remove the directory with all below it, and the semaphores named after it."""
    shutil.rmtree(scratch, ignore_errors=True)
    for semaphore in SEMAPHORES.glob(f"sem.{scratch.name}-*"):
        semaphore.unlink(missing_ok=True)
