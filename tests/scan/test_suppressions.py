"""Which comments silence which findings, and which of them were of use."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nndoctor.findings import Location
from nndoctor.scan.suppressions import Suppressions

RULES = {"ND101": "softmax-into-cross-entropy", "ND102": "sigmoid-into-bce", "ND201": "no-zero-grad", "NDP04": "mixing"}


def suppressions(text: str) -> Suppressions:
    return Suppressions(textwrap.dedent(text), "train.py")


def silenced(text: str, code: str = "ND101") -> list[int]:
    """The lines that hold something, and on which findings of that rule are silenced."""
    found = suppressions(text)
    lines = [n for n, line in enumerate(textwrap.dedent(text).split("\n"), start=1) if line.strip()]
    return [n for n in lines if found.covers(code, RULES[code], Location("train.py", n))]


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("# nndoctor: ignore[ND101] checked by hand", {"ND101"}),
        ("# nndoctor: ignore[ND101, ND201]", {"ND101", "ND201"}),
        ("# nndoctor:ignore[nd101,ND2]", {"ND101", "ND201"}),
        ("#nndoctor: ignore[ND1xx]", {"ND101", "ND102"}),
        ("# nndoctor: ignore[no-zero-grad]", {"ND201"}),
        ("# nndoctor: ignore [NDP04]", {"NDP04"}),
        ("# nndoctor: ignore[ND]", set(RULES)),
        ("# nndoctor: ignore", set(RULES)),
        ("# nndoctor: ignore because the loss is odd", set(RULES)),
        ("# type: ignore  # nndoctor: ignore[ND201]", {"ND201"}),
        ("# NNDoctor: Ignore[ND201]", {"ND201"}),
        ("# noqa: ND101", {"ND101"}),
        ("# noqa:E501,ND101 and a reason", {"ND101"}),
        ("# noqa: ND101 ND201", {"ND101", "ND201"}),
        ("# nndoctor: ignore[]", set()),
        ("# nndoctor: ignore[ND9]", set()),
        ("# nndoctor: ignored", set()),
        ("# see nndoctor: ignore[ND101]", set()),
        ("# noqa", set()),
        ("# noqa: E501", set()),
        ("# noqa: NDARRAY1", set()),
        ("# noqa: ND101x", set()),
        ("# a loss", set()),
    ],
)
def test_what_a_comment_silences(comment: str, codes: set[str]) -> None:
    text = f"loss = criterion(y)  {comment}\nloss.backward()\n"
    assert {code for code in RULES if silenced(text, code) == [1]} == codes
    assert {code for code in RULES if silenced(text, code)} == codes


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("a\nb  # nndoctor: ignore[ND101]\nc\n", [2], id="on the line"),
        pytest.param("a\n# nndoctor: ignore[ND101]\nb\nc\n", [3], id="alone above"),
        pytest.param("# nndoctor: ignore[ND101] since\n# it is meant\nb\nc\n", [3], id="alone in a block above"),
        pytest.param("# nndoctor: ignore[ND101]\n\nb\n", [], id="an empty line between"),
        pytest.param("f(  # nndoctor: ignore[ND101]\n  a,\n  b,\n)\nc\n", [1, 2, 3, 4], id="a statement's first line"),
        pytest.param("f(\n  a,\n  b,\n)  # nndoctor: ignore[ND101]\nc\n", [1, 2, 3, 4], id="a statement's last line"),
        pytest.param("# nndoctor: ignore[ND101]\nf(\n  a,\n)\nc\n", [2, 3, 4], id="above a long statement"),
        pytest.param("f(\n  a,  # nndoctor: ignore[ND101]\n  b,\n)\n", [2], id="a line inside"),
        pytest.param("f(\n  # nndoctor: ignore[ND101]\n  a,\n  b,\n)\n", [2, 3], id="alone inside"),
        pytest.param("for x in (  # nndoctor: ignore[ND101]\n  y\n):\n  z\n", [1, 2, 3], id="a header, not its body"),
        pytest.param("# nndoctor: ignore[ND101]\n@a\n@b\ndef f():\n  z\n", [2, 3, 4], id="above decorators"),
        pytest.param("x = 1 + \\\n  2  # nndoctor: ignore[ND101]\nc\n", [1, 2], id="a line joined by a backslash"),
        pytest.param("a\n# nndoctor: file-ignore[ND101]\nb\n", [1, 2, 3], id="a whole file"),
        pytest.param("x = '# nndoctor: ignore[ND101]'\n", [], id="text in a string"),
        pytest.param("x = '''\n# nndoctor: ignore[ND101]\n'''\n", [], id="text in a long string"),
        pytest.param("x = '''\n'''  # nndoctor: ignore[ND101]\n", [1, 2], id="behind a long string"),
        pytest.param("x = (\r\n  y)  # nndoctor: ignore[ND101]\r\nz\r\n", [1, 2], id="CRLF"),
        pytest.param("x = (  # nndoctor: ignore[ND101]", [1], id="a bracket left open"),
        pytest.param("a  # nndoctor: ignore[ND101]", [1], id="no newline at the end"),
    ],
)
def test_which_lines_a_comment_silences(text: str, lines: list[int]) -> None:
    assert silenced(text) == lines


def test_knows_which_were_used() -> None:
    found = suppressions("""\
        # nndoctor: file-ignore[ND102]
        a  # nndoctor: ignore[ND101, ND201]
        b  # nndoctor: ignore
        # nndoctor: ignore[ND101]
    """)
    assert found.covers("ND101", RULES["ND101"], Location("train.py", 2))
    assert found.covers("ND102", RULES["ND102"], Location("train.py", 3))
    assert [(usage.directive.selector, usage.directive.location.line, usage.used) for usage in found.usages(str)] == [
        ("ND102", 1, True),
        ("ND101", 2, True),
        ("ND201", 2, False),
        ("*", 3, True),
        ("ND101", 4, False),
    ]


def test_knows_which_mean_no_rule() -> None:
    found = suppressions("""\
        a  # nndoctor: ignore[ND101, ND999, ND2, no-zero-grad, softmax]
        b  # noqa: ND998, E501
        c  # nndoctor: ignore
    """)
    unknown = [usage.directive.selector for usage in found.usages(str) if not usage.directive.means_one_of(RULES)]
    assert unknown == ["ND999", "softmax", "ND998"]


def test_a_comment_is_located() -> None:
    (usage,) = suppressions("é = 1  # nndoctor: ignore[ND101] for now\n").usages(str)
    assert usage.directive.location == Location("train.py", 1, 8, 1, 41)


@given(
    st.lists(st.sampled_from([*"()[]{}'\"#\\\n\r ax@", "'''", "# nndoctor: ignore[ND101]", "# noqa: ND1"])).map("".join)
)
def test_no_text_raises(text: str) -> None:
    found = Suppressions(text, "train.py")
    directives = [usage.directive for usage in found.usages(str)]
    assert all(directive.matches("ND101", "x") for directive in directives if directive.selector == "ND101")
