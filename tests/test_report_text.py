"""Text, curves and paragraphs that the reporters share."""

from __future__ import annotations

import math

import pytest

from nndoctor.findings import Confidence, Failure, Finding, Report, Severity
from nndoctor.report.prose import indented, justified, labelled
from nndoctor.report.sparkline import heat, sparkline
from nndoctor.report.text import duration, figure, opening, plural, printable, tally


def test_plain_text_stays_as_it_is() -> None:
    assert printable("loss = criterion(x) # Verlust ü 损失") == "loss = criterion(x) # Verlust ü 损失"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\tb", "a b"),
        ("a\nb\r", "a␊b␍"),
        ("\x7f", "␡"),
        ("\x9b31m", "\N{REPLACEMENT CHARACTER}31m"),
        ("\u202eback", "\N{REPLACEMENT CHARACTER}back"),
        ("\udcff", "\N{REPLACEMENT CHARACTER}"),
        ("\u2028", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_in_as_many_characters(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert len(shown) == len(text)


def test_numbers_in_words() -> None:
    assert [plural(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [figure(value) for value in (2.302585, 1e-7, math.nan, -math.inf, 3, True, None, "a\x1b")] == [
        *("2.303", "1e-07", "nan", "-inf", "3", "True", "None", "a␛")
    ]
    assert [duration(seconds) for seconds in (0.04, 9.9, 41.6, 125)] == ["0.0 s", "9.9 s", "41 s", "2 min 5 s"]


def test_tally_names_what_there_is() -> None:
    def found(severity: Severity) -> Finding:
        return Finding("ND101", "name", severity, Confidence.CERTAIN, "message", "treatment")

    assert tally(Report("scan", "x")) == "no findings"
    findings = (found(Severity.ERROR), found(Severity.ERROR), found(Severity.INFO))
    assert tally(Report("scan", "x", findings, failures=(Failure("no"),))) == "2 errors, 1 hint, 1 failure"


def test_a_falling_curve_falls() -> None:
    assert sparkline([3, 3, 2, 2, 1, 1, 0, 0], 4) == "⠉⠒⠤⣀"


def test_a_rising_curve_rises() -> None:
    assert sparkline([0, 1, 2, 3], 8) == "⡠⠊"


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([math.nan, math.inf], ""), ([5.0], "⡀"), ([5.0, 5.0], "⣀"), ([1.0, math.nan, 1.0, math.inf], "⡀⡀")],
)
def test_curves_that_are_hardly_curves(values: list[float], curve: str) -> None:
    assert sparkline(values, 8) == curve


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    assert sparkline([1.0] * 999 + [0.0], 4) == "⠉⠉⠉⢁"


def test_a_huge_range_does_not_overflow() -> None:
    assert sparkline([1.7e308, -1.7e308], 4) == "⢁"


def test_a_matrix_in_shades() -> None:
    assert heat([(1.0, 0.0), (-0.5, math.nan)], 8) == ["██  ", "▒▒??"]
    assert heat([(0.0, 0.0)], 8) == ["    "]
    assert heat([(1.0,) * 9] * 9, 2) == ["████", "████"]


def test_paragraphs_are_wrapped_and_indented() -> None:
    lines = [line.plain for line in indented("word " * 20, 4, 44)]
    assert len(lines) == 3
    assert all(line.startswith("    word") and len(line) <= 44 for line in lines)


def test_code_in_a_paragraph_stands_out_across_lines() -> None:
    lines = list(indented("see `optimizer.zero_grad(set_to_none=True) and then` more", 0, 30))
    assert [bool(line.spans) for line in lines] == [False, True, True]


def test_a_labelled_paragraph_hangs_from_its_label() -> None:
    assert [line.plain for line in labelled("why", "word " * 10, 43)] == [
        "  why        word word word word word word",
        "             word word word word",
    ]
    assert list(labelled("why", "", 42)) == []


def test_opening_takes_whole_sentences() -> None:
    assert opening("One is short. Two is, too.") == "One is short. Two is, too."
    long = "A sentence that goes on and on" + ", and on" * 60 + "."
    assert opening(f"{long} Another one.\nA third.") == long
    assert opening("e.g. this one. `x` follows.") == "e.g. this one. `x` follows."


def test_justified_never_runs_together() -> None:
    from rich.text import Text

    assert justified(Text("left"), "right", 20).plain == "left           right"
    assert justified(Text("left"), "right", 5).plain == "left  right"
