"""Effort: how much work a check-up may spend on one probe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """The budget of one probe; a probe that can say the same with fewer steps stops earlier."""

    name: str
    batches: int  # batches of the loader that are kept and measured
    steps: int  # training steps of one fit
    sweep: int  # steps of a learning-rate sweep
    seconds: float  # deadline of one probe
    setup_seconds: float  # deadline for importing, building and fetching the first batches


# Leanest existing batteries take about 120 training steps and 100 for the sweep; `normal` stays near them.
EFFORTS = {
    "quick": Effort("quick", batches=4, steps=60, sweep=50, seconds=60.0, setup_seconds=60.0),
    "normal": Effort("normal", batches=8, steps=120, sweep=100, seconds=180.0, setup_seconds=120.0),
    "full": Effort("full", batches=16, steps=300, sweep=200, seconds=600.0, setup_seconds=300.0),
}
