"""Ranks: which of several processes this is, where torchrun or its like has started them."""

from __future__ import annotations

import os
from dataclasses import dataclass

MEETING_PLACE = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Rank:
    """One of `count` processes that train together; 0 speaks for all."""

    number: int
    count: int


def current_rank() -> Rank | None:
    """None for a process on its own."""
    number, count = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not number.isdigit() or not count.isdigit() or int(count) < 2:
        return None
    return Rank(int(number), int(count)) if all(name in os.environ for name in MEETING_PLACE) else None
