"""Work on a GPU: what is measured before it is done, and what keeps it waiting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Term

_CLOCKS = ("time.time", "time.perf_counter", "time.monotonic", "timeit.default_timer")
_WAITING_METHODS = ("item", "cpu", "numpy", "tolist")
_WAITING_CALLS = (
    "torch.cuda.synchronize",
    "torch.cuda.current_stream",
    "torch.cuda.Event",
    "torch.accelerator.synchronize",
)


def uses_cuda(program: Program) -> bool:
    """Whether anything is put on a CUDA device by name."""
    if next(program.methods("cuda"), None) is not None:
        return True
    named = (event.details["args"].get(0, "type") for event in program.calls("torch.device"))
    return any(type(value) is Const and str(value.value).startswith("cuda") for value in named)


@rule("ND705")
def timing_without_synchronise(program: Program) -> Iterator[Draft]:
    clocks = {id(event.details["result"]): event for event in program.calls(*_CLOCKS)}
    if len(clocks) < 2 or not uses_cuda(program):
        return
    waits = [e.order for e in (*program.methods(*_WAITING_METHODS), *program.calls(*_WAITING_CALLS))]
    waits.sort()
    seen: set[int] = set()
    for term in program.terms:
        if term.op != "-" or len(term.inputs) != 2 or id(term.node) in seen:
            continue
        ended, started = (clocks.get(id(operand)) for operand in term.inputs)
        if ended is None or started is None or term.node is None or term.source is None:
            continue
        draft = _timed(program, started, ended, term, waits)
        if draft is not None:
            seen.add(id(term.node))
            yield draft


def _timed(program: Program, started: Event, ended: Event, term: Term, waits: list[int]) -> Draft | None:
    if started.frames[-1] is not ended.frames[-1]:
        return None
    between = [e for e in program.of("forward", "apply", "backward") if started.order < e.order < ended.order]
    at = bisect_left(waits, started.order)
    if not between or (at < len(waits) and waits[at] < ended.order):
        return None
    trains = any(event.kind == "backward" for event in between)
    site = term.site
    assert site is not None
    message = "the clock is read while the GPU is still at work: CUDA calls return before they are done"
    evidence = ((started.site, "started here"), (between[0].site, "only queued here"), (ended.site, "stopped here"))
    # A loop most often prints its loss or scores its outputs, which waits in ways that cannot all be seen.
    meters = trains or started.loops != ended.loops
    confidence = Confidence.POSSIBLE if meters else Confidence.LIKELY
    return Draft("ND705", site, message, evidence, confidence)


@rule("ND706")
def loader_starves_device(program: Program) -> Iterator[Draft]:
    if not uses_cuda(program):
        return
    trained_on = {id(loop.iterable) for event in program.of("backward") for loop in event.loops}
    for event in program.calls("torch.utils.data.DataLoader"):
        args, loader = event.details["args"], event.details["result"]
        workers = args.get(5, "num_workers")
        if args.open or id(loader) not in trained_on:
            continue
        if workers is None or (type(workers) is Const and workers.value == 0):
            yield Draft("ND706", event.site, "the training batches are prepared by the process that trains")
