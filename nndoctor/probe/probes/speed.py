"""NDP22: where the time of a training step goes, what memory it needs, and whether the loader keeps up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from nndoctor.findings import Evidence, Figure, Finding
from nndoctor.probe.batches import Batches
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.pace import REPEATS, WARM_UP, Memory, Times, time_steps, total_memory
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

TIME_SHARE = 0.3
STARVES = Threshold(
    "NDP22", "starves", 3.0, "The loader of healthy models takes 0 to 0.3 of a step, although theirs are small."
)
NOTICEABLE = 0.01  # seconds a batch; what is shorter is no wait to speak of
FEWEST_WAITS = 3
USABLE = 0.8  # of the memory; the rest is for what operations need while they run
MEBI = 2**20


@probe("NDP22")
def speed(subject: Subject, effort: Effort) -> Outcome:
    """Time a few steps on the first batch, beside the wait for each batch when they were fetched."""
    if subject.objective is None or not any(each.requires_grad for each in subject.model.parameters()):
        raise NotApplicableError("without a loss and parameters to train there is no step to time")
    batch = subject.batches.first(1)[0]
    times, memory = time_steps(subject, batch, time.monotonic() + TIME_SHARE * effort.seconds)
    wait = typical_wait(subject.batches.waits)
    starved = wait is not None and starves(subject.batches, wait, times)
    return Outcome(
        summary=_summary(subject.batches, memory, starved=starved),
        findings=(_finding(subject, wait or 0.0, times),) if starved else (),
        measurements=_figures(subject, memory, next(iter(likely_sizes(batch, subject.batches.size)), None)),
        timings={"loader": wait or 0.0, "forward": times.forward, "backward": times.backward, "step": times.update},
        steps=1 + WARM_UP + REPEATS,
    )


def typical_wait(waits: Sequence[float]) -> float | None:
    """Seconds a batch, without the first, for which workers start and files are opened; None where none is left."""
    return median(waits[1:]) if len(waits) >= FEWEST_WAITS else None


def starves(batches: Batches, wait: float, times: Times) -> bool:
    """Whether a loader that reads in the training process itself takes far longer than the step that waits for it."""
    return batches.is_loader and batches.workers == 0 and wait > max(STARVES.value * times.step, NOTICEABLE)


def _summary(batches: Batches, memory: Memory, *, starved: bool) -> str:
    loader = "the loader takes longer than the step" if starved else "the loader keeps up with the step"
    if len(batches.waits) < FEWEST_WAITS:
        loader = "too few batches to time the loader"
    return (
        f"{loader}; a batch keeps {memory.activations / MEBI:.3g} MiB for its backward, beside "
        f"{memory.lasting / MEBI:.3g} MiB of parameters, gradients and optimizer"
    )


def _figures(subject: Subject, memory: Memory, size: int | None) -> dict[str, Figure]:
    figures: dict[str, Figure] = {
        "bytes kept for the backward": memory.activations,
        "bytes of parameters, gradients and optimizer": memory.lasting,
        "workers": subject.batches.workers,
    }
    if size and memory.activations:
        room = USABLE * total_memory(subject.device) - memory.lasting
        largest = max(room * size / memory.activations, 0)
        figures |= {"examples in the batch": size, "largest batch, estimated": int(float(f"{largest:.2g}"))}
    return figures


def _finding(subject: Subject, wait: float, times: Times) -> Finding:
    place, line = subject.data_location, subject.data_source_line
    return finding(
        "NDP22",
        "the loader takes several times as long as the training step that waits for it, and reads without workers",
        location=place or subject.location,
        source_line=line if place else subject.source_line,
        evidence=(
            Evidence(f"a batch is waited for {1000 * wait:.3g} ms"),
            Evidence(f"forward, backward and optimizer take {1000 * times.step:.3g} ms"),
        ),
        measurements={"cause": "slow loader", "workers": 0},
    )
