"""Fixes: the fixed file has the finding no longer, keeps all else, and a second treatment finds nothing to do."""

from __future__ import annotations

import ast
import difflib
import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from programs import HEADER, MAIN, write

from nndoctor.catalog import Example, Rule, load_rules
from nndoctor.findings import Edit, Location
from nndoctor.requests import ScanRequest
from nndoctor.scan.editing import EditError, edited
from nndoctor.scan.treatment import Treatment, treat
from nndoctor.scan.treatment import write as write_treated

COMMENT = re.compile(r"#.*")
# A text whose finding can be fixed safely, and what becomes of it.
SICK = "import torch.nn as nn\nnorm = nn.BatchNorm1d(8, 0.8)  # as in Keras\n"
CURED = SICK.replace("0.8", "momentum=0.2")


def request(folder: Path, **options: object) -> ScanRequest:
    return ScanRequest(paths=(folder,), root=folder, pedantic=True, **options)  # type: ignore[arg-type]


def treated(folder: Path, files: dict[str, str], unsafe: bool = True) -> Treatment:
    write(folder, files)
    return treat(request(folder), unsafe)


def examples() -> list[object]:
    return [
        pytest.param(rule, example, id=f"{rule.code} {example.title}")
        for rule in load_rules()
        if rule.passes == "static" and rule.code != "ND001"
        for example in rule.bad
    ]


@pytest.mark.parametrize(("rule", "example"), examples())
def test_a_treated_example_is_cured_of_what_can_be_fixed(rule: Rule, example: Example, tmp_path: Path) -> None:
    files = {MAIN: example.code, **example.files}
    treatment = treated(tmp_path, files)
    for path in treatment.changed:
        ast.parse(treatment.after[path])
        assert lost_comments(files[path], treatment.after[path]) == set()
    assert [f for f in treatment.report.findings if f.fix is not None and f.code == rule.code] == []
    again = treat(request(tmp_path, texts={tmp_path / path: text for path, text in treatment.after.items()}), True)
    assert again.changed == []


def lost_comments(before: str, after: str) -> set[str]:
    """Comments of lines that the treatment kept, or changed, and that are not there any more."""
    changes = difflib.ndiff(before.splitlines(), after.splitlines())
    removed = [line[2:] for line in changes if line.startswith("- ")]
    kept = {comment for line in removed if (comment := _comment(line)) and _stripped(line) in _all_code(after)}
    return kept - {_comment(line) for line in after.splitlines()}


def _comment(line: str) -> str:
    found = COMMENT.search(line)
    return found[0] if found else ""


def _stripped(line: str) -> str:
    return COMMENT.sub("", line).strip()


def _all_code(text: str) -> set[str]:
    return {_stripped(line) for line in text.splitlines()}


def test_unsafe_fixes_are_made_only_on_demand(tmp_path: Path) -> None:
    script = f"""{HEADER}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return F.softmax(self.fc(x), dim=1)

net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    output = net(x)
    F.cross_entropy(output, y).backward()
    optimizer.step()
    save(output)
"""
    assert treated(tmp_path, {MAIN: script}, unsafe=False).changed == []
    cured = treated(tmp_path, {MAIN: script}, unsafe=True)
    assert cured.after[MAIN] == script.replace("F.softmax(self.fc(x), dim=1)", "self.fc(x)")
    harmless = script.replace("save(output)", "right = output.argmax(1)")
    assert treated(tmp_path, {MAIN: harmless}, unsafe=False).changed == [MAIN]


def test_a_fix_may_be_in_another_file_than_the_finding(tmp_path: Path) -> None:
    files = {
        MAIN: f"{HEADER}from model import net\nfor x, y in loader:\n    F.cross_entropy(net(x), y)\n",
        "model.py": "from torch import nn\n\nnet = nn.Sequential(\n    nn.Linear(4, 3),\n    nn.Softmax(dim=1),\n)\n",
    }
    treatment = treated(tmp_path, files)
    assert treatment.changed == ["model.py"]
    assert treatment.after["model.py"] == files["model.py"].replace("    nn.Softmax(dim=1),\n", "")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_file_keeps_its_encoding_its_newlines_and_its_mode(newline: str, encoding: str, tmp_path: Path) -> None:
    cookie = f"# -*- coding: {encoding} -*-\n" if encoding == "latin-1" else ""
    before, after = ((cookie + text + "name = 'é'\n").replace("\n", newline) for text in (SICK, CURED))
    path = tmp_path / MAIN
    path.write_bytes(before.encode(encoding))
    path.chmod(0o755)
    treatment = treat(request(tmp_path), unsafe=False)
    write_treated(treatment, tmp_path)
    assert path.read_bytes() == after.encode(encoding)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == [MAIN]
    assert treat(request(tmp_path), unsafe=True).changed == []


def test_a_notebook_keeps_its_layout(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Générateur"]},
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": ["import torch.nn as nn"]},
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": SICK.splitlines(True)},
    ]
    document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (tmp_path / "nb.ipynb").write_text(text, encoding="utf-8")
    write_treated(treat(request(tmp_path), unsafe=False), tmp_path)
    assert (tmp_path / "nb.ipynb").read_text(encoding="utf-8") == text.replace("(8, 0.8)", "(8, momentum=0.2)")


def test_a_notebook_in_an_odd_layout_is_left_alone(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": SICK}
    text = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}, separators=(" ,", ":"))
    (tmp_path / "nb.ipynb").write_text(text, encoding="utf-8")
    treatment = treat(request(tmp_path), unsafe=True)
    assert treatment.changed == []
    assert [finding.code for finding in treatment.report.findings] == ["ND405"]
    with pytest.raises(EditError):
        edited(text, [Edit(Location("nb.ipynb", 1, 1, 1, 1, 1), "x")], notebook=True)


def test_standard_input_is_treated_too() -> None:
    given = replace(request(Path.cwd()), paths=(), stdin=SICK, stdin_filename="x.py")
    assert treat(given, unsafe=False).after == {"x.py": CURED}


def test_what_is_suppressed_is_not_fixed(tmp_path: Path) -> None:
    text = SICK.replace("# as in Keras", "# nndoctor: ignore[ND405] on purpose")
    assert treated(tmp_path, {MAIN: text}).changed == []


def test_edits_without_a_last_newline() -> None:
    end = Location("x.py", 2, 1, 2, 1)
    assert edited("a = 1", [Edit(end, "b = 2\n")], notebook=False) == "a = 1\nb = 2"
    assert edited("a = 1\n", [Edit(end, "b = 2\n")], notebook=False) == "a = 1\nb = 2\n"
