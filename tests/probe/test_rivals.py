"""What the benchmark beside other tools counts as naming a cause."""

from __future__ import annotations

import runpy
from pathlib import Path

import zoo

WORDS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "rival_words.py"))["WORDS"]


def test_the_tools_are_said_to_name_causes_of_the_zoo() -> None:
    named = {cause for checks in WORDS.values() for word in checks.values() for cause in word.causes}
    assert len(named) > 20
    assert named <= set(zoo.CAUSES.values())


def test_every_check_that_names_a_cause_has_its_words_beside_it() -> None:
    assert all(word.reason and word.causes for checks in WORDS.values() for word in checks.values())
