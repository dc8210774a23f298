"""Processes that work side by side: one that dies costs what it was at, and none outlives the run."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from nndoctor.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Died:
    """How the process ended that was at an item: its exit status, or a negative signal."""

    status: int | None


@dataclass(slots=True)
class _Worker(Generic[Item]):
    process: BaseProcess
    connection: Connection
    item: Item


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[tuple[Item, Result | Died], None, None]:
    """Each item with what `work` makes of it in one of several processes, in the order in which they are done.

    Closing the iterator ends the processes at once. Raises UserError where `work` does.
    """
    waiting = deque(items)
    workers: dict[Connection, _Worker[Item]] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                worker = _started(work, waiting.popleft(), list(workers))
                workers[worker.connection] = worker
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                result = _received(worker)
                if isinstance(result, UserError):
                    raise result
                yield worker.item, result
                if waiting and not isinstance(result, Died):
                    worker.item = waiting.popleft()
                    _send(worker)
                else:
                    del workers[connection]
                    _end(worker)
    finally:
        for worker in workers.values():
            _end(worker)


def _started(work: Callable[[Item], Result], item: Item, others: Sequence[Connection]) -> _Worker[Item]:
    context = _context()
    ours, theirs = context.Pipe()
    # A forked process inherits our ends of the other pipes, and while it holds them their processes cannot see us go.
    inherited = (ours, *others) if context.get_start_method() == "fork" else ()
    process = context.Process(target=_serve, args=(work, theirs, inherited), daemon=True)  # type: ignore[attr-defined]
    with _no_interrupt():
        process.start()
    theirs.close()
    worker = _Worker(process, ours, item)
    _send(worker)
    return worker


def _context() -> BaseContext:
    """A fork starts at once with all that is imported; elsewhere than on Linux, or beside threads, it is not safe."""
    fork = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if fork else "spawn")


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """What is started here never sees the ^C of the terminal, which goes to all its processes: we end it ourselves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[[Item], Result], connection: Connection, inherited: Sequence[Connection]) -> None:
    for other in inherited:
        other.close()
    gc.freeze()  # what was there before need never be walked
    while True:
        try:
            item = connection.recv()
        except EOFError:  # nothing left to do, or nobody left to do it for
            return
        try:
            result: Result | UserError = work(item)
        except UserError as error:
            result = error
        try:
            connection.send(result)
        except BrokenPipeError:
            return


def _send(worker: _Worker[Item]) -> None:
    with suppress(BrokenPipeError):  # it has died, which is seen when its answer is due
        worker.connection.send(worker.item)


def _received(worker: _Worker[Item]) -> Result | UserError | Died:
    try:
        result: Result | UserError = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Died(worker.process.exitcode)
    return result


def _end(worker: _Worker[Item]) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()
