"""The whole check-up names the cause of the sick models and is silent on the healthy ones; run with -m calibration."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import zoo
from calibration import FALSE, NAMED, SEEDS, judged, line, summary

NAMED_SHARE = 0.95
FALSE_SHARE = 0.01

pytestmark = pytest.mark.calibration


def test_the_cause_is_named_and_health_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [(name, seed) for name in [*zoo.SICK, *zoo.HEALTHY] for seed in SEEDS]
    verdicts = []
    with capsys.disabled(), ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for verdict in pool.map(judged, *zip(*pairs, strict=True)):
            verdicts.append(verdict)
            print(line(verdict), flush=True)
        print(summary(verdicts))
    words = [verdict.word for verdict in verdicts]
    assert len(words) == len(pairs)
    assert words.count(NAMED) >= NAMED_SHARE * len(zoo.SICK) * len(SEEDS)
    assert words.count(FALSE) <= FALSE_SHARE * len(zoo.HEALTHY) * len(SEEDS)
