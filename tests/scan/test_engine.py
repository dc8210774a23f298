"""The static pass from request to report: which files, which findings of them, where, and at what cost."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libcst as cst
import pytest
from programs import MAIN, Mark, marks, notebook, reported, scan_files, write

import nndoctor
from nndoctor.errors import UserError
from nndoctor.findings import Confidence, Coverage, Report, Severity
from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan
from nndoctor.scan.interpreter.statements import EXECUTE
from nndoctor.scan.program import Program
from nndoctor.scan.rules import RULES, Draft

SICK = """import torch
from torch.nn import functional as F

F.cross_entropy(torch.softmax(x, 1), y)  # <- ND101
"""
MODEL = """import torch
def net(x): return torch.softmax(x, 1)
loss = torch.nn.CrossEntropyLoss()
"""
UNPARSABLE = "import torch\ndef f(:\n"


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


# Which files


def test_a_file_without_torch_is_looked_at_but_not_examined(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.py": "def f(:\n", "b.py": SICK})
    assert codes(report) == ["ND101"]
    assert report.failures == ()


def test_a_file_that_imports_one_with_torch_is_examined(tmp_path: Path) -> None:
    files = {MAIN: "from model import net, loss\nloss(net(x), y)  # <- ND101\n", "model.py": MODEL}
    assert reported(scan_files(tmp_path, files)) == marks(files)


def test_only_the_named_files_are_started_but_their_imports_are_followed(tmp_path: Path) -> None:
    files = {MAIN: "from model import net, loss\nloss(net(x), y)  # <- ND101\n", "model.py": MODEL}
    write(tmp_path, {**files, "other.py": SICK})
    report = scan(ScanRequest(paths=(tmp_path / MAIN,), root=tmp_path))
    assert reported(report) == marks(files)
    assert report.files == 2


def test_a_finding_in_an_imported_file_stands_where_the_mistake_is(tmp_path: Path) -> None:
    files = {
        MAIN: "import torch\nfrom lib.step import step\nstep(torch.softmax(x, 1), y)\n",
        "lib/step.py": "import torch.nn.functional as F\ndef step(z, y): return F.cross_entropy(z, y)  # <- ND101\n",
    }
    assert reported(scan_files(tmp_path, files)) == marks(files)


def test_a_file_named_twice_is_examined_once(tmp_path: Path) -> None:
    write(tmp_path, {MAIN: SICK})
    report = scan(ScanRequest(paths=(tmp_path, tmp_path / MAIN, tmp_path / "." / MAIN), root=tmp_path))
    assert codes(report) == ["ND101"]
    assert report.files == 1


def test_excluded_files_are_left_out(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.py": SICK, "old/b.py": SICK}, exclude=("old/",))
    assert [finding.location.path for finding in report.findings] == ["a.py"]


def test_excluded_files_that_are_named_are_left_out_if_forced(tmp_path: Path) -> None:
    write(tmp_path, {"old/b.py": SICK})
    request = ScanRequest(paths=(tmp_path / "old" / "b.py",), root=tmp_path, exclude=("old/",))
    assert codes(scan(request)) == ["ND101"]
    forced = ScanRequest(paths=request.paths, root=tmp_path, exclude=("old/",), force_exclude=True)
    assert codes(scan(forced)) == []


def test_patterns_start_at_the_base(tmp_path: Path) -> None:
    write(tmp_path, {"project/old/a.py": SICK, "old/a.py": SICK})
    options: dict[str, Any] = {"paths": (tmp_path,), "root": tmp_path, "exclude": ("/old/",)}
    assert {f.location.path for f in scan(ScanRequest(**options)).findings} == {"project/old/a.py"}
    inner = scan(ScanRequest(**options, base=tmp_path / "project"))
    assert {f.location.path for f in inner.findings} == {"old/a.py"}


def test_a_path_that_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.py"):
        scan(ScanRequest(paths=(tmp_path / "missing.py",), root=tmp_path))


def test_nothing_to_examine_is_no_failure(tmp_path: Path) -> None:
    report = scan(ScanRequest(paths=(tmp_path,), root=tmp_path))
    assert (report.findings, report.failures, report.files) == ((), (), 0)


# Stdin


def test_stdin_takes_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"model.py": MODEL})
    monkeypatch.chdir(tmp_path)
    text = "from model import net, loss\nloss(net(x), y)\n"
    report = scan(ScanRequest(paths=(), root=tmp_path, stdin=text, stdin_filename="train.py"))
    assert reported(report) == {Mark("train.py", 2, "ND101")}
    assert report.findings[0].source_line == "loss(net(x), y)"


def test_stdin_needs_no_name(tmp_path: Path) -> None:
    report = scan(ScanRequest(paths=(), root=tmp_path, stdin=SICK))
    assert codes(report) == ["ND101"]
    assert report.files == 1


def test_stdin_may_be_a_notebook(tmp_path: Path) -> None:
    report = scan(ScanRequest(paths=(), root=tmp_path, stdin=notebook([SICK]), stdin_filename="a.ipynb"))
    assert [finding.location.cell for finding in report.findings] == [1]


def test_stdin_that_cannot_be_parsed_is_told(tmp_path: Path) -> None:
    report = scan(ScanRequest(paths=(), root=tmp_path, stdin=UNPARSABLE, stdin_filename="train.py"))
    assert codes(report) == ["ND001"]
    assert [failure.location.path for failure in report.failures] == ["train.py"]


def test_an_import_of_the_file_on_stdin_means_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor sends a file that is not saved; the disk still holds the old one."""
    write(
        tmp_path,
        {"train.py": "", "helper.py": "import torch\nimport train\ntrain.loss(torch.softmax(x, 1), y)  # <- ND101\n"},
    )
    monkeypatch.chdir(tmp_path)
    text = "import torch\nloss = torch.nn.CrossEntropyLoss()\nimport helper\n"
    report = scan(ScanRequest(paths=(), root=tmp_path, stdin=text, stdin_filename="train.py"))
    assert reported(report) == {Mark("helper.py", 3, "ND101")}


# Notebooks


def test_a_finding_in_a_notebook_tells_its_cell_and_the_line_in_it(tmp_path: Path) -> None:
    first, last = SICK.split("\n\n")
    report = scan_files(tmp_path, {"a.ipynb": notebook([first, "%matplotlib inline\n", "\n" + last])})
    [finding] = report.findings
    assert (finding.location.cell, finding.location.line) == (3, 2)
    assert str(finding.location).startswith("a.ipynb:cell 3:2:")
    assert finding.source_line == last.rstrip()


def test_a_cell_that_cannot_be_parsed_costs_itself(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.ipynb": notebook(["x = (\n", SICK])})
    assert {(finding.code, finding.location.cell) for finding in report.findings} == {("ND001", 1), ("ND101", 2)}
    assert report.failures == ()


def test_a_notebook_that_is_none_is_told(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.ipynb": '{"torch": '})
    assert codes(report) == ["ND001"]
    assert len(report.failures) == 1


# What cannot be examined


def test_a_file_that_cannot_be_parsed_is_a_finding_and_a_failure(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.py": UNPARSABLE, "b.py": SICK})
    assert set(codes(report)) == {"ND001", "ND101"}
    [failure] = report.failures
    [finding] = [finding for finding in report.findings if finding.code == "ND001"]
    assert (failure.code, failure.location) == ("ND001", finding.location)
    assert (failure.location.path, failure.location.line) == ("a.py", 2)
    assert finding.source_line == "def f(:"


def test_an_imported_file_that_cannot_be_parsed_leaves_its_names_unknown(tmp_path: Path) -> None:
    write(tmp_path, {MAIN: "from model import net\n" + SICK, "model.py": UNPARSABLE})
    report = scan(ScanRequest(paths=(tmp_path / MAIN,), root=tmp_path))
    assert codes(report) == ["ND101"]


def test_what_goes_wrong_inside_costs_the_part_it_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTE, cst.Assert, fail)
    monkeypatch.delenv("NNDOCTOR_DEBUG", raising=False)
    report = scan_files(tmp_path, {"a.py": "import torch\nassert torch\n", "b.py": SICK})
    assert codes(report) == ["ND101"]
    [failure] = report.failures
    assert failure.location.path == "a.py"
    assert "out of order" in failure.message


def test_those_who_mend_it_see_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTE, cst.Assert, fail)
    monkeypatch.setenv("NNDOCTOR_DEBUG", "1")
    with pytest.raises(ValueError, match="out of order"):
        scan_files(tmp_path, {"a.py": "import torch\nassert torch\n"})


def fail(run: object, node: object) -> None:
    raise ValueError("out of order")


def test_a_rule_that_goes_wrong_costs_its_own_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(program: Program) -> Iterator[Draft]:
        yield from ()
        raise ValueError("out of order")

    monkeypatch.delenv("NNDOCTOR_DEBUG", raising=False)
    monkeypatch.setattr("nndoctor.scan.rules.RULES", {broken: ("ND405",), **RULES})
    report = scan_files(tmp_path, {MAIN: SICK})
    assert codes(report) == ["ND101"]
    [failure] = report.failures
    assert "ND405" in failure.message


# Which findings


def sick_twice(tmp_path: Path, **options: Any) -> Report:
    """A file with an ND101 and an ND405."""
    return scan_files(tmp_path, {MAIN: f"{SICK}torch.nn.BatchNorm1d(3, 0.9)\n"}, **options)


def test_all_rules_by_default(tmp_path: Path) -> None:
    assert codes(sick_twice(tmp_path)) == ["ND101", "ND405"]


def test_only_what_is_selected(tmp_path: Path) -> None:
    assert codes(sick_twice(tmp_path, select=frozenset({"ND405"}))) == ["ND405"]


def test_not_what_is_ignored(tmp_path: Path) -> None:
    assert codes(sick_twice(tmp_path, ignore=frozenset({"ND405"}))) == ["ND101"]


def test_ignoring_wins_over_selecting(tmp_path: Path) -> None:
    assert codes(sick_twice(tmp_path, select=frozenset({"ND405"}), ignore=frozenset({"ND405"}))) == []


def test_a_file_that_cannot_be_parsed_stays_a_failure_if_the_finding_is_ignored(tmp_path: Path) -> None:
    report = scan_files(tmp_path, {"a.py": UNPARSABLE}, ignore=frozenset({"ND001"}))
    assert report.findings == ()
    assert len(report.failures) == 1


def test_rules_that_are_ignored_by_file(tmp_path: Path) -> None:
    ignores = {"tests/": frozenset({"ND101"}), "*_old.py": frozenset({"ND405"})}
    text = f"{SICK}torch.nn.BatchNorm1d(3, 0.9)\n"
    files = {"a.py": text, "tests/a.py": text, "a_old.py": text, "tests/b_old.py": text}
    report = scan_files(tmp_path, files, per_file_ignores=ignores)
    assert {(finding.location.path, finding.code) for finding in report.findings} == {
        ("a.py", "ND101"),
        ("a.py", "ND405"),
        ("tests/a.py", "ND405"),
        ("a_old.py", "ND101"),
    }


def test_rules_that_are_ignored_by_file_from_the_base(tmp_path: Path) -> None:
    ignores = {"/tests/": frozenset({"ND101"})}
    files = {"tests/a.py": SICK, "project/tests/a.py": SICK}
    report = scan_files(tmp_path, files, per_file_ignores=ignores, base=tmp_path / "project")
    assert {finding.location.path for finding in report.findings} == {"tests/a.py"}


@pytest.mark.parametrize(
    "comment",
    [
        "# nndoctor: ignore",
        "# nndoctor: ignore[ND101] the paper does so",
        "# nndoctor: ignore[ND1]",
        "# nndoctor: ignore[softmax-into-cross-entropy]",
        "# noqa: ND101",
        "# noqa: E501, ND101",
    ],
)
def test_a_comment_on_the_line_silences_it(comment: str, tmp_path: Path) -> None:
    assert codes(scan_files(tmp_path, {MAIN: SICK.replace("# <- ND101", comment)})) == []


@pytest.mark.parametrize("comment", ["# nndoctor: ignore[ND405]", "# noqa: E501", "# noqa", "# nndoctor ignore"])
def test_another_comment_does_not(comment: str, tmp_path: Path) -> None:
    assert codes(scan_files(tmp_path, {MAIN: SICK.replace("# <- ND101", comment)})) == ["ND101"]


def test_a_comment_above_or_for_the_file_silences_too(tmp_path: Path) -> None:
    above = SICK.replace("F.cross", "# nndoctor: ignore[ND101]\nF.cross")
    assert codes(scan_files(tmp_path, {"a.py": above, "b.py": "# nndoctor: file-ignore[ND101]\n" + SICK})) == []


def test_a_comment_in_a_notebook_silences_the_line_of_its_cell(tmp_path: Path) -> None:
    cells = [SICK.replace("# <- ND101", "# nndoctor: ignore[ND101]"), SICK]
    report = scan_files(tmp_path, {"a.ipynb": notebook(cells)})
    assert [finding.location.cell for finding in report.findings] == [2]


def test_the_comment_counts_in_the_file_of_the_finding(tmp_path: Path) -> None:
    step = "import torch.nn.functional as F\ndef step(z, y): return F.cross_entropy(z, y)  # nndoctor: ignore[ND101]\n"
    files = {MAIN: "import torch\nfrom step import step\nstep(torch.softmax(x, 1), y)\n", "step.py": step}
    assert codes(scan_files(tmp_path, files)) == []


# Advice, and what rules say twice: with rules of the test's own


def use_rule(monkeypatch: pytest.MonkeyPatch, *drafts: dict[str, Any]) -> None:
    """The one rule there is reports these drafts at each loss."""

    def rule(program: Program) -> Iterator[Draft]:
        for event in program.of("loss"):
            for draft in drafts:
                yield Draft("ND101", event.site, "it is so", **draft)

    monkeypatch.setattr("nndoctor.scan.rules.RULES", {rule: ("ND101",)})


@pytest.mark.parametrize("advice", [{"severity": Severity.INFO}, {"confidence": Confidence.POSSIBLE}], ids=str)
def test_advice_is_for_the_pedantic(advice: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_rule(monkeypatch, advice)
    assert codes(scan_files(tmp_path, {MAIN: SICK})) == []
    assert codes(scan_files(tmp_path, {MAIN: SICK}, pedantic=True)) == ["ND101"]


def test_of_two_equal_findings_the_surer_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    likely, certain = {"confidence": Confidence.LIKELY}, {"confidence": Confidence.CERTAIN}
    use_rule(monkeypatch, likely, certain, likely)
    assert [finding.confidence for finding in scan_files(tmp_path, {MAIN: SICK}).findings] == [Confidence.CERTAIN]


def test_the_catalogue_supplies_what_a_rule_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_rule(monkeypatch, {})
    [finding] = scan_files(tmp_path, {MAIN: SICK}).findings
    assert (finding.name, finding.severity) == ("softmax-into-cross-entropy", Severity.ERROR)
    assert finding.treatment


def test_a_rule_may_say_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_rule(monkeypatch, {"severity": Severity.WARNING, "treatment": "Rest."})
    [finding] = scan_files(tmp_path, {MAIN: SICK}).findings
    assert (finding.severity, finding.treatment) == (Severity.WARNING, "Rest.")


def test_a_function_run_from_two_places_is_reported_once(tmp_path: Path) -> None:
    text = "import torch\nimport torch.nn.functional as F\ndef f(z, y): return F.cross_entropy(z, y)\n"
    text += "f(torch.softmax(a, 1), y)\nf(torch.softmax(b, 1), y)\n"
    assert codes(scan_files(tmp_path, {MAIN: text})) == ["ND101"]


# Order and paths


def test_findings_are_sorted_by_severity_then_place(tmp_path: Path) -> None:
    text = "import torch\nnet = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Dropout(0.5))\n"
    report = scan_files(tmp_path, {"b.py": SICK + SICK, "a.py": text + "net(x)\n", "c.py": SICK})
    places = [(finding.severity.rank, finding.location.path, finding.location.line) for finding in report.findings]
    assert places == sorted(places)
    assert len(places) == 4


def test_paths_are_relative_to_the_root_with_forward_slashes(tmp_path: Path) -> None:
    write(tmp_path, {"src/nets/a.py": SICK})
    inside = scan(ScanRequest(paths=(tmp_path / "src",), root=tmp_path))
    assert [finding.location.path for finding in inside.findings] == ["src/nets/a.py"]
    outside = scan(ScanRequest(paths=(tmp_path / "src",), root=tmp_path / "elsewhere"))
    assert [finding.location.path for finding in outside.findings] == [(tmp_path / "src/nets/a.py").as_posix()]


def test_the_same_files_give_the_same_report_in_any_order(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": SICK, "b.py": SICK + "import a\n", "c.py": SICK + "import b\n"})
    paths = tuple(tmp_path / name for name in ("a.py", "b.py", "c.py"))
    first = scan(ScanRequest(paths=paths, root=tmp_path)).findings
    assert scan(ScanRequest(paths=paths[::-1], root=tmp_path)).findings == first


def test_the_report_names_what_was_asked_for(tmp_path: Path) -> None:
    report = sick_twice(tmp_path)
    assert (report.command, report.target, report.files) == ("scan", str(tmp_path), 1)
    assert report.seconds > 0


# What it leaves behind, and what it loads


def test_collector_and_recursion_limit_are_left_as_they_were(tmp_path: Path) -> None:
    before = gc.isenabled(), sys.getrecursionlimit()
    scan_files(tmp_path, {MAIN: SICK})
    assert (gc.isenabled(), sys.getrecursionlimit()) == before


def loaded(tmp_path: Path, script: str) -> set[str]:
    """The modules that a process has loaded after it has scanned a script."""
    write(tmp_path, {MAIN: script})
    program = """
import sys
from pathlib import Path
from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan
report = scan(ScanRequest(paths=(Path("main.py"),), root=Path()))
print(len(report.findings), *sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    number, *modules = run.stdout.split()
    assert number == str(script.count("<- ND"))
    return set(modules)


NEVER = {"torch", "numpy", "rich", "typer", "libcst.matchers", "libcst.codemod", "transformers"}


def test_neither_torch_nor_anything_slow_is_loaded(tmp_path: Path) -> None:
    modules = loaded(tmp_path, SICK)
    assert "libcst" in modules
    assert not modules & NEVER


def test_without_torch_in_the_file_not_even_the_parser_is_loaded(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "import os\nprint(os.getcwd())\n")
    assert not modules & (NEVER | {"libcst", "nndoctor.scan.rules", "pathspec", "tomli"})


def test_the_catalogue_is_read_only_for_findings(tmp_path: Path) -> None:
    assert "tomli" not in loaded(tmp_path, "import torch\nprint(torch.ones(3))\n")


def test_the_user_s_code_is_not_run(tmp_path: Path) -> None:
    scan_files(tmp_path, {MAIN: 'import torch\nopen("trace", "w").close()\nraise SystemExit(3)\n'})
    assert not (tmp_path / "trace").exists()
    assert {path.name for path in tmp_path.iterdir()} == {MAIN}


def test_the_report_says_what_was_not_examined(tmp_path: Path) -> None:
    files = {"a.py": "import os\n", "b.py": SICK, "c.py": "import torch\ndef f(:\n", "d.py": "import torch\n"}
    write(tmp_path, {**files, "e.ipynb": notebook(["import torch\n", "def f(:\n"])})
    only = frozenset(str((tmp_path / name).resolve()) for name in ("a.py", "b.py", "c.py", "e.ipynb"))
    report = scan(ScanRequest(paths=(tmp_path,), root=tmp_path, only=only))
    asked = ("a.py", "b.py", "c.py", "e.ipynb")
    assert report.coverage == Coverage(asked, without_torch=1, unparsed=1, cells=1, unchanged=1)
