"""The child as the parent sees it: started, listened to against a deadline, and always ended with all its processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from nndoctor.errors import UserError
from nndoctor.findings import Location
from nndoctor.probe.blame import frames_in, location_of
from nndoctor.probe.environment import environment
from nndoctor.probe.messages import Message, Order, decode, encode_order
from nndoctor.probe.scratch import clear, make_scratch

POLL_SECONDS = 0.2  # how soon the end of the child is noticed while one of its workers keeps the pipe open
TAIL_BYTES = 8_000  # of the child's output, of which the last line is shown


class OverdueError(Exception):
    """The child said nothing within the deadline."""


class DiedError(Exception):
    """The child ended before its time; the text says how."""

    def __init__(self, text: str, location: Location | None) -> None:
        super().__init__(text)
        self.location = location


class Child:
    """A worker process in a process group of its own, to be used in a `with` statement."""

    def __init__(self, order: Order) -> None:
        if os.name != "posix":
            raise UserError("nndoctor probe needs Linux or macOS: it runs the model in a process group of its own")
        self._buffer = b""
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        self._scratch = make_scratch()
        self._messages, messages = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nndoctor.probe.worker", str(messages), str(lifeline), str(self._scratch)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=order.request.root,
            env=_environment(order.request.seed, self._scratch),
            pass_fds=(messages, lifeline),
            start_new_session=True,
        )
        os.close(messages)
        os.close(lifeline)
        self._give(encode_order(order))

    def _give(self, order: str) -> None:
        assert self._process.stdin is not None, "it was asked for"
        with contextlib.suppress(BrokenPipeError):  # it has died already, which `receive` will tell
            self._process.stdin.write(order.encode())
            self._process.stdin.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child and every process that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._lifeline)
        os.close(self._messages)
        self._output.close()
        clear(self._scratch)

    def receive(self, seconds: float) -> Message:
        """The next message; raises OverdueError or DiedError."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OverdueError
            if select.select([self._messages], [], [], min(left, POLL_SECONDS))[0]:
                part = os.read(self._messages, 1 << 16)
                self._buffer += part
                if not part:
                    raise self._obituary()
            elif self._process.poll() is not None:
                raise self._obituary()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return decode(line)

    def _obituary(self) -> DiedError:
        status = self._process.wait()
        lines = self._last_lines()
        text = _cause_of_death(status)
        frames = frames_in("\n".join(lines))
        if frames:  # faulthandler writes the innermost frame first
            location = location_of(*frames[0])
            return DiedError(f"{text} at {location.path}:{location.line}", location)
        return DiedError(text + (f"; its last words: {lines[-1]}" if lines else ""), None)

    def _last_lines(self) -> list[str]:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - TAIL_BYTES))
        return [line for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]


def _cause_of_death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the process was killed, probably for want of memory"
    if status < 0:
        return f"the process was ended by {signal.Signals(-status).name}"
    return f"the user's code ended the process with status {status}"


def _environment(seed: int, scratch: Path) -> dict[str, str]:
    """With output that is not lost in a crash, sets ordered by the seed, and no file beside the user's."""
    return {
        "PYTHONHASHSEED": str(seed % 2**32),
        **environment(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch),
    }
