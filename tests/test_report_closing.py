"""The end of the full report: what was and was not examined, and at a terminal what to do next."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from reports import CLEAN, PROBE, SCAN

from nndoctor.findings import Coverage, Fix, Report
from nndoctor.report.closing import MANY, examined, next_steps
from nndoctor.report.output import Style, write


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(report: Report, stream: io.StringIO) -> str:
    write(report, Style(colour="never"), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("files", "coverage", "sentence"),
    [
        (1, Coverage(("a.py",)), "1 file examined."),
        (3, Coverage(("a.py", "b.py", "c.py", "d.py"), without_torch=2), "3 files examined, 2 without torch."),
        (2, Coverage(("a.py", "b.py"), without_torch=2), "2 files without torch."),
        (1, Coverage(("a.py",), unparsed=1), "1 file not parsed."),
        (
            5,
            Coverage(("a.py",) * 6, without_torch=1, unparsed=1, cells=2, unchanged=9),
            "4 files examined, 1 without torch, 1 not parsed, 9 left out as unchanged, "
            "2 cells of notebooks not parsed.",
        ),
        (0, Coverage(unchanged=9), "9 files left out as unchanged."),
        (0, Coverage(), ""),
    ],
)
def test_a_scan_sums_up_its_files(files: int, coverage: Coverage, sentence: str) -> None:
    assert examined(Report("scan", ".", files=files, coverage=coverage)) == sentence


def test_a_check_up_sums_up_its_probes() -> None:
    assert examined(PROBE) == "2 probes run, 1 skipped, 1 failed."


def test_the_sentence_ends_the_full_report() -> None:
    assert printed(PROBE, io.StringIO()).splitlines()[-1] == examined(PROBE)
    nothing = Report("scan", ".", coverage=Coverage(unchanged=2))
    assert printed(nothing, io.StringIO()).splitlines()[-2:] == [
        "No Python file and no notebook that has changed was examined.",
        "2 files left out as unchanged.",
    ]


def test_next_steps_are_for_a_terminal() -> None:
    assert "FILE.py:LOADER` measures" in printed(CLEAN, Terminal())
    assert "measures" not in printed(CLEAN, io.StringIO())


def test_fixes_are_offered_with_what_they_need() -> None:
    assert "`nndoctor scan src --diff` shows 2 fixes, `--fix` makes them." in next_steps(SCAN)
    unsafe = replace(SCAN.findings[0], fix=Fix("do it", (), safe=False))
    (step,) = next_steps(replace(SCAN, findings=(unsafe,)))
    assert step == "`nndoctor scan src --diff --unsafe-fixes` shows a fix, `--fix --unsafe-fixes` makes it."


def test_many_findings_can_be_set_aside() -> None:
    many = replace(SCAN, findings=(replace(SCAN.findings[0], fix=None),) * MANY)
    assert any("--baseline FILE --update-baseline" in step for step in next_steps(many))
    assert not any("--baseline" in step for step in next_steps(SCAN))


def test_after_a_probe_the_code_is_looked_at() -> None:
    assert next_steps(PROBE)[0] == "`nndoctor scan train.py` looks for the cause in the code."
    assert any("`nndoctor env`" in step for step in next_steps(PROBE))
    assert next_steps(replace(PROBE, findings=(), probes=PROBE.probes[:1])) == []


def test_files_without_torch_need_no_probe() -> None:
    assert next_steps(replace(CLEAN, files=2, coverage=Coverage(("a.py", "b.py"), without_torch=2))) == []
