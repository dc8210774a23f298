"""The child process: imports the user's code, builds the subject, runs one probe after the other.

Started as `python -m nndoctor.probe.worker MESSAGES LIFELINE SCRATCH`, two file descriptors and a directory: results
are written to the first, the second ends when the parent does, and temporary files go to the third. The order comes on
stdin; stdout and stderr belong to the user's code.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.errors import UserError
from nndoctor.findings import Failure
from nndoctor.probe.blame import describe_error, place_of_error, raised_at
from nndoctor.probe.limits import limit_memory, memory_limit
from nndoctor.probe.messages import (
    Done,
    Failed,
    Measured,
    Message,
    Order,
    Ready,
    Refused,
    Stage,
    Started,
    decode_order,
    encode,
)
from nndoctor.probe.ranks import current_rank
from nndoctor.probe.scratch import clear, name_semaphores

if TYPE_CHECKING:
    from nndoctor.probe.effort import Effort
    from nndoctor.probe.subject import Subject
    from nndoctor.requests import ProbeRequest

REPLICAS = "NDP23"
Send = Callable[[Message], None]


def main() -> None:
    """Serve one order."""
    messages, lifeline, scratch = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    del sys.argv[1:]  # a script that parses its arguments on import shall see none
    for descriptor in (messages, lifeline):
        os.set_inheritable(descriptor, False)
    threading.Thread(target=_die_with_parent, args=(lifeline, scratch), daemon=True).start()
    order = decode_order(sys.stdin.read())
    _close_stdin()
    name_semaphores(scratch)
    limit_memory(memory_limit(order.request.memory, order.request.device))

    def send(message: Message) -> None:
        line = encode(message).encode() + b"\n"
        while line:
            line = line[os.write(messages, line) :]

    serve(order, send)
    os._exit(0)  # threads and exit handlers of the user's code have nothing more to do here


def _die_with_parent(lifeline: int, scratch: Path) -> None:
    """End the whole process group, with all workers of all loaders, once the parent has closed its end."""
    while os.read(lifeline, 1):
        pass
    clear(scratch)
    os.killpg(0, signal.SIGKILL)


def _close_stdin() -> None:
    """The user's `input()` shall fail rather than wait."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def serve(order: Order, send: Send) -> None:
    """Build the subject and run the probes, telling `send` of each."""
    send(Stage("importing torch"))
    try:
        import torch  # noqa: F401
    except ImportError:
        send(Refused('probing needs PyTorch, which is not installed here: pip install "nndoctor[probe]"'))
        return
    from nndoctor.probe.build import build_subject
    from nndoctor.probe.effort import EFFORTS
    from nndoctor.probe.executed import executed_lines
    from nndoctor.probe.registry import load_probes
    from nndoctor.probe.showing import find_decoder, shown
    from nndoctor.thresholds import choose

    choose(order.request.thresholds)
    effort = EFFORTS[order.request.effort]
    ready = threading.Event()
    try:
        request = _joined(order.request, effort, lambda text: _end_with(send, text, ready.is_set()))
        subject = build_subject(request, effort, lambda text: send(Stage(text)))
        decode = find_decoder(request.tokenizer)
    except UserError as error:
        _refuse(send, str(error))
        return
    except Exception as error:
        _refuse(send, f"the model and the data could not be set up{raised_at(error)}: {describe_error(error)}")
        return
    ready.set()
    codes = order.codes if order.codes is not None else selected(order, load_probes())
    send(Ready(tuple(codes), subject.notes, *shown(subject, decode), lines=executed_lines(subject)))
    gc.freeze()  # what there is by now stays: the collector need not walk through torch and the model again and again
    for code in codes:
        send(Started(code))
        send(run(code, subject, effort))
    send(Done())


def _end_with(send: Send, text: str, is_ready: bool) -> None:
    """What another rank cannot do, this one cannot either."""
    send(Failed(Failure(text, REPLICAS)) if is_ready else Refused(text))
    send(Done())


def _refuse(send: Send, text: str) -> None:
    if current_rank():
        from nndoctor.probe.replicas import tell_failure

        tell_failure(text)
    send(Refused(text))


def _joined(request: ProbeRequest, effort: Effort, say: Callable[[str], None]) -> ProbeRequest:
    """Where torchrun has started several processes, meet the others; each has random numbers of its own."""
    if (rank := current_rank()) is None:
        return request
    from nndoctor.probe.replicas import join, watch
    from nndoctor.probe.session import seed_everything

    join(rank, request.device, effort.seconds)
    watch(say)
    seed = request.seed + rank.number
    seed_everything(seed)
    return replace(request, seed=seed)


def selected(order: Order, available: Iterable[str]) -> list[str]:
    """The codes of the available probes that the request asks for."""
    select, ignore = order.request.select, order.request.ignore
    if current_rank():  # the others are for one process: ranks that stop at different steps would wait for each other
        available = [code for code in available if code == REPLICAS]
    return [code for code in available if (select is None or code in select) and code not in ignore]


def run(code: str, subject: Subject, effort: Effort) -> Measured | Failed:
    """One probe; whatever it or the user's code raises becomes a sentence."""
    from nndoctor.probe.registry import examine

    try:
        return Measured(*examine(code, subject, effort))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # user code may even call sys.exit
        return Failed(Failure(_sentence(error), code, place_of_error(error)))


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory: {describe_error(error)}; use smaller batches"
    if isinstance(error, SystemExit):
        return f"the user's code ended the program{raised_at(error)}"
    return f"{describe_error(error)}{raised_at(error)}"


if __name__ == "__main__":
    main()
