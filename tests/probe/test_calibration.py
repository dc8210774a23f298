"""The whole check-up names the cause of the sick models and is silent on the healthy ones; run with -m calibration."""

from __future__ import annotations

import pytest
import zoo
from calibration import DETECTED, FALSE, MISSED, NAMED, SEEDS, judged, line, summary

NAMED_SHARE = 0.95
FALSE_SHARE = 0.01

pytestmark = pytest.mark.calibration


def test_the_cause_is_named_and_health_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = []
    with capsys.disabled():
        for name in [*zoo.SICK, *zoo.HEALTHY]:
            for seed in SEEDS:
                verdicts.append(judged(name, seed))
                print(line(verdicts[-1]), flush=True)
        print(summary(verdicts))
    words = [verdict.word for verdict in verdicts]
    sick, healthy = len(zoo.SICK) * len(SEEDS), len(zoo.HEALTHY) * len(SEEDS)
    assert words.count(NAMED) >= NAMED_SHARE * sick
    assert words.count(FALSE) <= FALSE_SHARE * healthy
    assert words.count(NAMED) + words.count(DETECTED) + words.count(MISSED) == sick
