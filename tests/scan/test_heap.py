"""Branches, loops and objects: what a name, an attribute or an item can be after them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from programs import Case, read_cases, run, shown

from nndoctor.scan.values import State

STATEMENTS = {"branches", "dicts", "exits", "guards", "lists", "loops", "objects"}
VALUES = [case for case in read_cases("values") if case.topic in STATEMENTS]


def name_of(case: Case) -> str:
    return f"{case.topic}: {case.title}"


@pytest.mark.parametrize("case", VALUES, ids=name_of)
def test_what_a_value_can_be(case: Case, tmp_path: Path) -> None:
    assert shown(tmp_path, case.script) == case.shown


@pytest.mark.parametrize("case", VALUES, ids=name_of)
def test_it_is_the_same_in_a_branch_that_is_undone_and_joined(case: Case, tmp_path: Path) -> None:
    branch = textwrap.indent(case.script, "    ")
    assert shown(tmp_path, f"if outer:\n{branch}\nelse:\n    pass\n") == case.shown


@pytest.mark.parametrize("case", VALUES, ids=name_of)
def test_it_is_the_same_in_a_function(case: Case, tmp_path: Path) -> None:
    if "global" in case.script:
        pytest.skip("is about the names of a module")
    body = textwrap.indent(case.script, "    ")
    assert shown(tmp_path, f"def main():\n{body}\nmain()\n") == case.shown


def test_a_value_of_too_many_alternatives_is_unknown(tmp_path: Path) -> None:
    flags = "".join(f"if flag{i}: x = {i}\n" for i in range(12))
    [alternatives] = shown(tmp_path, f"x = -1\n{flags}show(x)\n")
    assert "joined" in alternatives
    assert len(alternatives) < 12


def test_paths_that_left_meet_again_with_their_own_state(tmp_path: Path) -> None:
    """The optimizer was stepped on one path only, so its gradients are joined, not certain."""
    program = run(
        tmp_path,
        """
        model = nn.Linear(3, 3)
        opt = optim.SGD(model.parameters(), lr=0.1)
        def train(flag):
            opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            if flag:
                return
            opt.step()
        train(unknown)
        opt.step()
        """,
    )
    last = list(program.of("step"))[-1]
    found = {state.name for state in last.options(last.details["grads"]) if type(state) is State}
    assert found == {"fresh", "spent"}
