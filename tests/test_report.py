"""The reporters, on reports made by hand."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

import nndoctor
from nndoctor.findings import (
    Confidence,
    Edit,
    Evidence,
    Failure,
    Finding,
    Fix,
    Location,
    ProbeResult,
    Report,
    Series,
    Severity,
)
from nndoctor.report.fingerprints import fingerprints
from nndoctor.report.output import Style, write

SOFTMAX_TWICE = Finding(
    code="ND101",
    name="softmax-into-cross-entropy",
    severity=Severity.ERROR,
    confidence=Confidence.CERTAIN,
    message="outputs is already a softmax over dim 1",
    treatment="Return `self.head(x)` from Net.forward.",
    location=Location("train.py", 60, 26, 60, 33),
    source_line="        loss = criterion(outputs, y)",
    evidence=(
        Evidence("softmax here", Location("model.py", 31, 16), "        return F.softmax(self.head(x), dim=1)"),
        Evidence("returned here", Location("train.py", 58, 9), "        outputs = net(x)"),
    ),
)
BATCH_MIXED = Finding(
    code="NDP04",
    name="gradient-isolation",
    severity=Severity.WARNING,
    confidence=Confidence.LIKELY,
    message="output 0 depends on examples 1 to 7",
    treatment="x.permute(1, 0, 2)",
    evidence=(
        Evidence("first operation that mixes them", Location("model.py", 44, 9), "    x = x.view(T, B, D)"),
        Evidence("off-diagonal influence 0.61 of the diagonal; healthy is 0"),
    ),
    measurements={"influence": 0.61234, "examples": 8},
)


FULL = Style()


def text_of(report: Report, width: int = 100, style: Style = FULL) -> str:
    stream = io.StringIO()
    if style.format == "full" and not style.statistics:
        from nndoctor.report import terminal

        terminal.render(report, Console(file=stream, width=width, markup=False, emoji=False, highlight=False))
    else:
        write(report, style, stream)
    return stream.getvalue()


def scan_report(*findings: Finding) -> Report:
    return Report("scan", "train.py", findings, files=4)


# Full


@pytest.fixture
def no_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reasons of a rule may be written anew without a change here."""
    monkeypatch.setattr("nndoctor.report.terminal.rule_names", dict)


@pytest.mark.usefixtures("no_catalogue")
def test_a_finding_shows_its_code_its_evidence_and_what_to_do() -> None:
    assert text_of(scan_report(SOFTMAX_TWICE)) == (
        """\
nndoctor scan train.py                                                              4 files, 1 error

error ND101 softmax-into-cross-entropy                                                       certain
  train.py:60:26   loss = criterion(outputs, y)
                                    ^^^^^^^ outputs is already a softmax over dim 1
  model.py:31      return F.softmax(self.head(x), dim=1)   softmax here
  train.py:58      outputs = net(x)                        returned here
  do         Return `self.head(x)` from Net.forward.

`nndoctor explain ND101` says more. `# nndoctor: ignore[ND101] reason` on a line silences it there.
4 files examined.
"""
    )


@pytest.mark.usefixtures("no_catalogue")
def test_a_probe_shows_its_figures_and_its_curves() -> None:
    report = Report(
        "probe",
        "model:net",
        (BATCH_MIXED,),
        probes=(
            ProbeResult(
                "NDP04",
                "gradient-isolation",
                "finding",
                "0.61 off the diagonal, expected 0",
                series={"influence": Series(((1.0, 0.5), (0.5, 1.0)), "influence")},
            ),
            ProbeResult(
                "NDP03",
                "overfit-batch",
                "ok",
                "2.31 to 0.0004",
                series={"loss": Series((2.31, 1.0, 0.5, 0.0004), "loss", x=(0.0, 20.0, 40.0, 60.0))},
            ),
            ProbeResult("NDP06", "lr-range", "skipped", "no time left"),
            ProbeResult("NDP07", "input-independent", "failed", "it raised"),
        ),
        failures=(Failure("NDP07 ran out of memory: lower the batch size", "NDP07"),),
        notes=("loss: cross-entropy, found in train.py:12",),
        seconds=41.3,
    )
    assert text_of(report) == (
        """\
nndoctor probe model:net                                        4 probes, 1 warning, 1 failure, 41 s
  note       loss: cross-entropy, found in train.py:12

warning NDP04 gradient-isolation                                                              likely
  output 0 depends on examples 1 to 7
  model.py:44   x = x.view(T, B, D)   first operation that mixes them
  measured   off-diagonal influence 0.61 of the diagonal; healthy is 0
  measured   influence 0.6123, examples 8
  do         x.permute(1, 0, 2)

warning  NDP04  gradient-isolation   0.61 off the diagonal, expected 0
                influence
                ██▒▒
                ▒▒██
ok       NDP03  overfit-batch        2.31 to 0.0004
                loss  2.31 ⠡⣀ 0.0004  over step 0 to 60
skipped  NDP06  lr-range             no time left
failed   NDP07  input-independent    it raised

failure NDP07
  NDP07 ran out of memory: lower the batch size

`nndoctor explain NDP04` says more.
2 probes run, 1 skipped, 1 failed.
"""
    )


def test_a_clean_bill_says_so() -> None:
    assert text_of(scan_report()).splitlines()[-2:] == ["Nothing to report.", "4 files examined."]


def test_a_scan_of_nothing_is_no_clean_bill() -> None:
    assert text_of(Report("scan", "data/")).splitlines()[-1] == "No Python file and no notebook was examined."


def test_why_is_the_catalogue_s_and_stands_once_for_each_rule() -> None:
    text = text_of(scan_report(SOFTMAX_TWICE, SOFTMAX_TWICE))
    assert text.count("  why        ") == 1
    assert text.count("  do         ") == 2


def test_a_failure_says_where() -> None:
    report = Report("scan", "a.py", failures=(Failure("cannot parse it", "ND001", Location("a.py", 3, 7)),))
    assert "failure ND001\n  a.py:3:7: cannot parse it\n" in text_of(report)


def test_a_long_summary_hangs_from_its_column() -> None:
    probe = ProbeResult("NDP02", "init-bias", "ok", "word " * 20)
    lines = text_of(Report("probe", "m:net", probes=(probe,)), width=60).splitlines()
    assert [line.index("word") for line in lines if "word" in line] == [28] * 4


def test_no_line_of_prose_is_wider_than_the_terminal() -> None:
    lines = text_of(scan_report(SOFTMAX_TWICE, BATCH_MIXED), width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.strip() == "softmax here" for line in lines)


def finding_at(source_line: str | None, location: Location | None, **changes: object) -> Finding:
    fields = {"message": "HERE", "treatment": "", **changes}
    return Finding(
        "NDX", "name", Severity.ERROR, Confidence.CERTAIN, location=location, source_line=source_line, **fields
    )


def under(source_line: str, location: Location) -> str:
    """What stands above the carets."""
    lines = text_of(scan_report(finding_at(source_line, location))).splitlines()
    row = next(index for index, line in enumerate(lines) if "^" in line)
    start, carets = lines[row].index("^"), lines[row].count("^")
    return lines[row - 1][start : start + carets]


@pytest.mark.parametrize(
    ("source_line", "location", "marked"),
    [
        ("x = f(y)\n", Location("a.py", 1, 7, 1, 8), "y"),
        ("\tx = f(y)", Location("a.py", 1, 6, 1, 10), "f(y)"),
        ("x = f(\n", Location("a.py", 1, 5, 3, 2), "f("),
        ("x = f(y)", Location("a.py", 1, 5), "f"),
        ("    x = f(y)", Location("a.py", 1), "x = f(y)"),
        ("    x = f(y)", Location("a.py", 1, 1, 1, 6), "x"),
        ("x = '\x1b[31m' + f(y)", Location("a.py", 1, 15, 1, 19), "f(y)"),
        ("x = [red]y", Location("a.py", 1, 5, 1, 10), "[red]"),
        ("a = 1; " * 30 + "x = f(y)", Location("a.py", 1, 215, 1, 219), "f(y)"),
        ("x = f(y)" + " + 1" * 60, Location("a.py", 1, 5, 1, 9), "f(y)"),
    ],
)
def test_carets_stand_under_the_span(source_line: str, location: Location, marked: str) -> None:
    assert under(source_line, location) == marked


def test_carets_allow_for_wide_characters() -> None:
    lines = text_of(scan_report(finding_at("x = '损失' + y", Location("a.py", 1, 12, 1, 13)))).splitlines()
    code = next(line for line in lines if "损失" in line)
    carets = next(line for line in lines if "^" in line)
    assert carets.index("^") == code.index("y", code.index("+")) + 2


def test_a_caret_beyond_the_line_is_still_one_caret() -> None:
    assert "^ HERE" in text_of(scan_report(finding_at("x", Location("a.py", 1, 99, 1, 120))))


def test_a_place_without_its_source_line_still_has_the_message() -> None:
    text = text_of(scan_report(finding_at(None, Location("a.py", 3))))
    assert "  a.py:3:1\n" in text
    assert "HERE" in text
    assert "^" not in text


def test_a_long_line_is_cut() -> None:
    text = text_of(scan_report(finding_at("x = 1; " * 100, Location("a.py", 1, 1, 1, 2))))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" in text


def test_a_long_path_stands_on_its_own_line() -> None:
    text = text_of(scan_report(finding_at("x = 1", Location("very/" * 20 + "a.py", 1, 1, 1, 2))))
    assert "very/a.py:1:1\n" in text


def test_a_step_names_its_file_where_the_row_above_is_in_another() -> None:
    places = [Location("b.py", 1), Location("b.py", 2), Location("a.py", 3), Location("n.ipynb", 4, cell=5)]
    evidence = tuple(Evidence("step", location, "x") for location in [*places, Location("n.ipynb", 6, cell=7)])
    lines = text_of(scan_report(finding_at("x", Location("a.py", 9), evidence=evidence))).splitlines()
    shown = [line.split("   ")[0].strip() for line in lines if line.endswith("   step")]
    assert shown == ["b.py:1", "line 2", "a.py:3", "n.ipynb:cell 5:4", "cell 7:6"]


def test_nothing_of_the_user_s_reaches_the_terminal_raw() -> None:
    nasty = "\x1b]0;title\x07[bold]"
    finding = finding_at(
        nasty,
        Location(nasty, 1),
        message=nasty,
        treatment=nasty,
        evidence=(Evidence(nasty, Location(nasty, 2), nasty), Evidence(nasty)),
        measurements={nasty: nasty},
    )
    probe = ProbeResult("NDP01", nasty, nasty, nasty, series={nasty: Series((1.0, 2.0), nasty, (1.0, 2.0), nasty)})
    report = Report("scan", nasty, (finding,), (probe,), (Failure(nasty, "ND001", Location(nasty, 1)),), (nasty,))
    for style in (FULL, Style("concise"), Style(statistics=True), Style("json")):
        text = text_of(report, style=style)
        assert "\x1b" not in text
        assert "\x07" not in text
    assert text_of(report).count("[bold]") == text_of(report).count("␛]0;title␇")


# Concise


def test_concise_is_a_line_for_each() -> None:
    report = Report(
        "probe",
        "m:net",
        (SOFTMAX_TWICE, BATCH_MIXED),
        (ProbeResult("NDP01", "init-loss", "ok", "2.31"),),
        (Failure("too slow", "NDP06"), Failure("cannot parse it", "ND001", Location("a.ipynb", 2, 1, cell=4))),
    )
    assert text_of(report, style=Style("concise")).splitlines() == [
        "train.py:60:26: error: ND101 outputs is already a softmax over dim 1",
        "m:net: warning: NDP04 output 0 depends on examples 1 to 7",
        "m:net: failure: NDP06 too slow",
        "a.ipynb:cell 4:2:1: failure: ND001 cannot parse it",
        "m:net: ok: NDP01 init-loss: 2.31",
    ]


def test_concise_has_nothing_to_say_of_a_clean_scan() -> None:
    assert text_of(scan_report(), style=Style("concise")) == ""


def test_statistics_name_what_could_not_be_examined() -> None:
    report = Report("scan", "a.py", failures=(Failure("cannot parse it", "ND001", Location("a.py", 3)),))
    assert text_of(report, style=Style(statistics=True)) == "a.py:3:1: failure: ND001 cannot parse it\n"


# JSON


def test_json_of_a_fix() -> None:
    edit = Edit(Location("train.py", 3, 5, 3, 9), "x.item()")
    finding = replace(SOFTMAX_TWICE, fix=Fix("write `x.item()`", (edit,), safe=True))
    [written] = json.loads(text_of(scan_report(finding), style=Style("json")))["findings"]
    place = {"path": "train.py", "line": 3, "column": 5, "cell": None, "end_line": 3, "end_column": 9}
    assert written["fix"] == {"message": "write `x.item()`", "safe": True, "edits": [{**place, "text": "x.item()"}]}


def test_a_fix_is_offered_with_the_options_that_make_it() -> None:
    for safe, options in ((True, "--fix"), (False, "--fix --unsafe-fixes")):
        fix = Fix("write `x.item()`", (), safe)
        assert f"fix        write `x.item()`, with {options}\n" in text_of(scan_report(replace(SOFTMAX_TWICE, fix=fix)))


def test_json_of_a_finding() -> None:
    document = json.loads(text_of(scan_report(SOFTMAX_TWICE), style=Style("json")))
    assert document == {
        "version": 1,
        "tool": {"name": "nndoctor", "version": nndoctor.__version__},
        "summary": {
            "command": "scan",
            "target": "train.py",
            "files": 4,
            "not_examined": {"without_torch": 0, "unparsed": 0, "cells": 0, "unchanged": 0},
            "errors": 1,
            "warnings": 0,
            "infos": 0,
            "failures": 0,
            "by_rule": {"ND101": 1},
            "notes": [],
        },
        "findings": [
            {
                "code": "ND101",
                "name": "softmax-into-cross-entropy",
                "severity": "error",
                "confidence": "certain",
                "message": "outputs is already a softmax over dim 1",
                "path": "train.py",
                "line": 60,
                "column": 26,
                "end_line": 60,
                "end_column": 33,
                "cell": None,
                "evidence": [
                    {"message": "softmax here", "path": "model.py", "line": 31, "column": 16, "cell": None},
                    {"message": "returned here", "path": "train.py", "line": 58, "column": 9, "cell": None},
                ],
                "measurements": {},
                "treatment": "Return `self.head(x)` from Net.forward.",
                "fix": None,
                "fingerprint": fingerprints([SOFTMAX_TWICE])[0],
            }
        ],
        "probes": [],
        "failures": [],
    }


def test_json_of_probes_and_failures() -> None:
    report = Report(
        "probe",
        "m:net",
        (BATCH_MIXED,),
        (
            ProbeResult(
                "NDP03",
                "overfit-batch",
                "ok",
                "fell",
                {"floor": 0.0},
                {"loss": Series((2.0, 1.0), "loss", (1.0, 2.0), references={"ln C": 2.3})},
                1.5,
                60,
                {"forward": 0.25},
            ),
        ),
        (Failure("too slow", "NDP06"),),
    )
    document = json.loads(text_of(report, style=Style("json")))
    assert document["findings"][0]["path"] is None
    assert document["findings"][0]["evidence"][1]["line"] is None
    assert document["findings"][0]["measurements"] == {"influence": 0.61234, "examples": 8}
    assert document["probes"] == [
        {
            "code": "NDP03",
            "name": "overfit-batch",
            "status": "ok",
            "measurements": {"floor": 0.0},
            "series": {
                "loss": {
                    "label": "loss",
                    "values": [2.0, 1.0],
                    "x": [1.0, 2.0],
                    "x_label": "step",
                    "log_x": False,
                    "references": {"ln C": 2.3},
                    "y_label": "",
                    "names": [],
                    "marks": {},
                    "band": None,
                }
            },
            "seconds": 1.5,
            "steps": 60,
            "timings": {"forward": 0.25},
        }
    ]
    assert document["failures"] == [
        {"code": "NDP06", "message": "too slow", "path": None, "line": None, "column": None, "cell": None}
    ]


def test_timings_are_shown_below_their_probe() -> None:
    probe = ProbeResult("NDP22", "speed", "ok", "keeps up", timings={"forward": 0.0123, "backward": 0.5})
    text = text_of(Report("probe", "m:net", probes=(probe,)))
    assert "forward 12.3 ms, backward 500 ms" in text


def test_json_has_no_number_that_json_lacks() -> None:
    probe = ProbeResult(
        "NDP03",
        "overfit-batch",
        "ok",
        "nan",
        {"last": math.nan},
        {"loss": Series((1.0, math.inf), "loss"), "matrix": Series(((1.0, -math.inf),), "matrix")},
    )
    text = text_of(Report("probe", "m:net", probes=(probe,)), style=Style("json"))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(text, parse_constant=refuse)
    assert document["probes"][0]["measurements"] == {"last": "nan"}
    assert document["probes"][0]["series"]["loss"]["values"] == [1.0, "inf"]
    assert document["probes"][0]["series"]["matrix"]["values"] == [[1.0, "-inf"]]


def test_json_survives_a_file_name_that_is_not_text() -> None:
    finding = finding_at("x", Location("\udcff.py", 1))
    text = text_of(scan_report(finding), style=Style("json"))
    assert text.isascii()
