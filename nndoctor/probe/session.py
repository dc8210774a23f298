"""The sandbox of a probe: it starts from one seed, and whatever it changes is undone, bit by bit."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch

from nndoctor.probe.memory import Undo, remember, run_all


@contextmanager
def sandbox(*holders: Any, seed: int) -> Iterator[Undo]:
    """Undo on exit every change to the holders (modules, and whatever they hold) and to the global state.

    Yields a function that goes back to the beginning at once, for a probe that makes several trials. Random numbers
    start from `seed` each time.
    """
    undo_random, undo_flags, undo_holders = remember_random(), remember_flags(), remember(*holders)

    def rewind() -> None:
        undo_flags()
        undo_holders()
        seed_everything(seed)

    seed_everything(seed)
    try:
        yield rewind
    finally:
        undo_flags()
        undo_holders()
        undo_random()


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy (if it is loaded) and torch on every device."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if _only_cpu():
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` notes a stack for each device there is not
    else:
        torch.manual_seed(seed)


@cache
def _only_cpu() -> bool:
    return not (torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available())


def remember_random() -> Undo:
    """Remember the random state of Python, NumPy and torch on every device."""
    undo: list[Undo] = [
        partial(random.setstate, random.getstate()),
        partial(torch.set_rng_state, torch.get_rng_state()),
    ]
    if "numpy" in sys.modules:
        numpy_random = sys.modules["numpy"].random
        undo.append(partial(numpy_random.set_state, numpy_random.get_state()))
    if torch.cuda.is_available():
        undo.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return partial(run_all, undo)


def remember_flags() -> Undo:
    """Remember torch's global switches: precision, determinism, gradient mode."""
    cudnn = torch.backends.cudnn
    undo: list[Undo] = [
        partial(setattr, cudnn, name, getattr(cudnn, name)) for name in ("enabled", "benchmark", "deterministic")
    ]
    undo += [
        partial(torch.set_default_dtype, torch.get_default_dtype()),
        partial(torch.set_grad_enabled, torch.is_grad_enabled()),
        partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        partial(torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
        partial(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
    ]
    return partial(run_all, undo)
