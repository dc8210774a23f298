"""NDP23: the ranks of one training: equal weights after each step, different data, different random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nndoctor.findings import Confidence, Figure, Finding, Severity
from nndoctor.probe.blame import describe_error
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.registry import Outcome, finding, model_finding, probe
from nndoctor.probe.replicas import Share, differing, is_shard, tell_all, tell_failure, weights_of
from nndoctor.probe.rows import Rows, read_rows
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

STEPS = 2  # DistributedDataParallel notices in the second that a parameter had no gradient in the first
RATE = 0.01  # of SGD where the user names no optimizer: any step shows whether the gradients were averaged
SHARED = Threshold(
    "NDP23",
    "shared",
    0.05,
    "A sampler pads the shards to one size: at most one example a rank, in a small data set 1 % of a batch.",
)
WHOLE = Threshold(
    "NDP23",
    "whole",
    0.9,
    "A rank that reads less of the data in an epoch has a shard; with two ranks it is half.",
)
SEED_BY_RANK = "torch.manual_seed(seed + rank)"


@dataclass(frozen=True, slots=True)
class Told:
    """What one rank tells the others."""

    before: dict[str, int]
    after: dict[str, int]
    shards: int
    rows: Rows
    share: Share | None


@probe("NDP23")
def replicas(subject: Subject, effort: Effort) -> Outcome:
    """Two steps on each rank, with the rank's own batches; every rank comes to the same outcome."""
    replica = subject.replica
    if replica is None:
        raise NotApplicableError("one process; start several: torchrun --nproc-per-node 2 -m nndoctor probe ...")
    rows = read_rows(subject, subject.batches.first(), subject.batches.size)
    before = weights_of(subject.model)
    try:
        _train(subject, replica.model)
    except Exception as error:  # of the user's code; the other ranks would wait for this one
        tell_failure(describe_error(error))
        raise
    shards = sum(map(is_shard, subject.model.parameters()))
    told: list[Told] = tell_all(Told(before, weights_of(subject.model), shards, rows, replica.share))
    findings = [*_drift(subject, told), *_same_data(subject, told), *_same_augmentation(subject, told)]
    return Outcome(summary=_summary(told), findings=tuple(findings), measurements=_figures(told), steps=STEPS)


def _train(subject: Subject, model: nn.Module) -> None:
    model.train()
    optimizer = subject.make_optimizer(subject.model)
    optimizer = optimizer or torch.optim.SGD((p for p in subject.model.parameters() if p.requires_grad), lr=RATE)
    for batch in subject.batches.cycle(STEPS):
        optimizer.zero_grad()
        subject.compute_loss(model, batch)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()


# ------------------------------------------------------------------------------------------------- verdicts


def _drift(subject: Subject, told: list[Told]) -> Iterator[Finding]:
    """A bare module that a framework's trainer will wrap says nothing about the training."""
    assert subject.replica is not None, "the probe has seen it"
    parts = subject.replica.model.modules()
    is_wrapped = told[0].shards > 0 or any(isinstance(part, DistributedDataParallel) for part in parts)
    before, after = (differing([getattr(rank, when) for rank in told]) for when in ("before", "after"))
    if not after or (not is_wrapped and hasattr(subject.model, "training_step")):
        return
    names = f"`{(before or after)[0]}`" + (f" and {len(before or after) - 1} more" if (before or after)[1:] else "")
    if before:
        message = f"the {len(told)} ranks begin with different weights: {names} of {len(told[0].before)} parameters"
    else:
        message = f"the {len(told)} ranks drift apart: after {STEPS} steps {names} differ"
    wrap = "wrap the model before the optimizer is made, DistributedDataParallel(model), or shard it with fully_shard"
    yield model_finding(
        "NDP23",
        subject,
        message,
        treatment="Find the parameters that DistributedDataParallel was told to ignore, or that are changed after it."
        if is_wrapped
        else f"Gradients are not averaged: {wrap}. If that happens elsewhere, name a function that returns the wrapped "
        "model.",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if is_wrapped else Confidence.LIKELY,
        measurements={"cause": "drifting ranks", "differ before": len(before), "differ after": len(after)},
    )


def _same_data(subject: Subject, told: list[Told]) -> Iterator[Finding]:
    shared = _shared(told)
    share = told[0].share
    same_set = share is not None and _have_one_data_set(told)
    reads_all = (
        same_set
        and share is not None
        and all(rank.share is not None and rank.share.epoch >= WHOLE.value * share.size for rank in told)
    )
    if shared == 1.0:
        message = f"all {len(told)} ranks are given the same batches"
    elif reads_all and share is not None:
        message = f"each of the {len(told)} ranks reads all {share.size} examples in an epoch, no shard of them"
    elif shared > SHARED.value:
        message = f"{shared:.0%} of the examples of a rank are given to another one too"
    else:
        return
    yield finding(
        "NDP23",
        message,
        treatment="Give each rank its shard: DataLoader(..., sampler=DistributedSampler(data)), with "
        "sampler.set_epoch(epoch) before each epoch. Split a stream by rank: islice(stream, rank, None, world_size).",
        severity=Severity.ERROR if shared == 1.0 else Severity.WARNING,
        confidence=Confidence.CERTAIN if shared == 1.0 else Confidence.LIKELY,
        location=subject.data_location,
        source_line=subject.data_source_line,
        measurements={"cause": "same data on each rank", "shared": shared},
    )


def _shared(told: list[Told]) -> float:
    """The largest share of a rank's examples that another is given too; 0 where examples may be equal by chance."""
    rows = [rank.rows for rank in told]
    if not all(of_rank.rich and of_rank.count and of_rank.distinct > 1 for of_rank in rows):
        return 0.0
    return max(of_rank.shared_with(other) / of_rank.count for of_rank in rows for other in rows if other is not of_rank)


def _have_one_data_set(told: list[Told]) -> bool:
    shares = [rank.share for rank in told]
    known = {(share.size, share.stable) for share in shares if share is not None}
    return None not in shares and len(known) == 1 and all(len(set(stable)) > 1 for _, stable in known)


def _same_augmentation(subject: Subject, told: list[Told]) -> Iterator[Finding]:
    shares = [rank.share for rank in told if rank.share is not None]
    if len(shares) < len(told) or not all(share.is_random for share in shares):
        return
    if len({(share.first, share.second) for share in shares}) > 1:
        return
    yield finding(
        "NDP23",
        f"the {len(told)} ranks draw the same random numbers: what they add to an example is the same on each",
        treatment=f"Seed each rank by its own number, {SEED_BY_RANK}, after the model is made; its wrapper sends the "
        "weights of rank 0 to all.",
        severity=Severity.WARNING,
        location=subject.data_location,
        source_line=subject.data_source_line,
        measurements={"cause": "same augmentation on each rank", "examples compared": len(shares[0].first)},
    )


# ------------------------------------------------------------------------------------------------- the report


def _figures(told: list[Told]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {
        "ranks": len(told),
        "parameters": len(told[0].before) + told[0].shards,
        "parameters in shards": told[0].shards,
        "parameters that differ before the first step": len(differing([rank.before for rank in told])),
        f"parameters that differ after {STEPS} steps": len(differing([rank.after for rank in told])),
        "share of examples given to two ranks": _shared(told),
    }
    if share := told[0].share:
        figures |= {"examples in the data set": share.size, "examples of a rank in an epoch": share.epoch}
    return figures


def _summary(told: list[Told]) -> str:
    differ = len(differing([rank.after for rank in told]))
    parts = [f"{len(told)} ranks: {differ} parameters differ after {STEPS} steps, expected 0"]
    if told[0].shards:
        parts.append(f"{told[0].shards} are in shards")
    return "; ".join((*parts, f"{_shared(told):.0%} of the examples are shared, expected 0%"))
