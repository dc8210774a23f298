"""The number that an argument stands for: constants, defaults of the command line, and formulas of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from nndoctor.scan.interpreter.run import run_program
from nndoctor.scan.numbers import Number, number
from nndoctor.scan.project import Project

HEAD = """import argparse, math, torch
parser = argparse.ArgumentParser()
group = parser.add_argument_group("training")
group.add_argument("-b", "--batch-size", type=int, default=256)
parser.add_argument("--lr", type=float, default="0.1")
parser.add_argument("--name", default="resnet")
parser.add_argument("--decay", dest="gamma", default=0.5)
parser.add_argument("--required", type=float, required=True)
parser.set_defaults(factor=4)
args = parser.parse_args()
"""


def rate(tmp_path: Path, expression: str, before: str = "") -> Number | None:
    """The learning rate of an optimizer that is given this expression."""
    (tmp_path / "main.py").write_text(f"{HEAD}{before}\ntorch.optim.SGD([], lr={expression})\n")
    project = Project(tmp_path)
    source = project.source(tmp_path / "main.py")
    assert source is not None
    (made,) = run_program(project, [source]).of("optimizer")
    return number(made.subject.args["lr"])


@pytest.mark.parametrize(
    ("expression", "value"),
    [("0.1", 0.1), ("1e-3 * 4", 4e-3), ("-(2 ** 3)", -8), ("int(7 / 2)", 3), ("float('0.25')", 0.25)],
)
def test_constants_are_computed(tmp_path: Path, expression: str, value: float) -> None:
    assert rate(tmp_path, expression) == Number(value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("args.lr", 0.1),
        ("args.batch_size", 256),
        ("args.lr * args.batch_size / 256", 0.1),
        ("int(args.batch_size * args.gamma)", 128),
        ("getattr(args, 'factor')", 4),
        ("args.batch_size % 100", 56),
    ],
)
def test_a_default_of_the_command_line_may_be_replaced(tmp_path: Path, expression: str, value: float) -> None:
    assert rate(tmp_path, expression) == Number(value, is_default=True)


@pytest.mark.parametrize(
    "expression",
    ["args.required", "args.name", "args.missing", "args.lr / 0", "unknown", "True", "1 / args.required", "math.pi"],
)
def test_what_cannot_be_known_is_no_number(tmp_path: Path, expression: str) -> None:
    assert rate(tmp_path, expression) is None


def test_an_option_that_the_script_sets_is_no_default(tmp_path: Path) -> None:
    assert rate(tmp_path, "args.lr", "args.lr = 0.3") == Number(0.3)


def test_both_branches_must_agree(tmp_path: Path) -> None:
    differ = "if unknown:\n    rate = 0.1\nelse:\n    rate = 0.2"
    agree = "if unknown:\n    rate = 0.1\nelse:\n    rate = 0.05 * 2"
    assert rate(tmp_path, "rate", differ) is None
    assert rate(tmp_path, "rate", agree) == Number(0.1)


def test_known_options_are_parsed_with_the_rest(tmp_path: Path) -> None:
    assert rate(tmp_path, "known.lr", "known, rest = parser.parse_known_args()") == Number(0.1, is_default=True)
