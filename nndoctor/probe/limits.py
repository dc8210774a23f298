"""Limits: how much memory the processes of a check-up may take, so that a model too large costs no more than itself."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

GB = 10**9
# Of what is free; the rest is for the parent and for what else the machine does meanwhile.
SHARE = 0.9
MEMORY_INFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def limit_memory(bytes_: int | None) -> None:
    """Let this process and those it starts fail to allocate more than so many bytes each, where the system can."""
    if bytes_ is None:
        return
    _, hardest = resource.getrlimit(resource.RLIMIT_DATA)
    if hardest != resource.RLIM_INFINITY:
        bytes_ = min(bytes_, hardest)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit and does not keep it
        resource.setrlimit(resource.RLIMIT_DATA, (bytes_, hardest))


def memory_limit(gigabytes: float | None, device: str) -> int | None:
    """The bytes that the user grants, or a share of what is free; None where nobody knows, or CUDA reserves at will."""
    if gigabytes is not None:
        return int(gigabytes * GB)
    known = [bytes_ for bytes_ in (_free_in_machine(), _free_in_container()) if bytes_ is not None]
    return int(SHARE * min(known)) if known and device == "cpu" else None


def _free_in_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMORY_INFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _free_in_container() -> int | None:
    """Of a cgroup of version 2; "max" is no number."""
    with contextlib.suppress(OSError, ValueError):
        used = int((CGROUP / "memory.current").read_text())
        cached = int(dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())["inactive_file"])
        return int((CGROUP / "memory.max").read_text()) - used + cached
    return None
