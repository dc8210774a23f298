"""`nndoctor scan --add-ignore`: which comments are written where, and that a second run has nothing to do."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

IMPORT = "from torch import nn\n"
BOTH = "loss = nn.CrossEntropyLoss()(nn.Sequential(nn.BatchNorm1d(8, 0.8), nn.Softmax(1))(x), y)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            "norm = nn.BatchNorm1d(8, 0.8)\n", "norm = nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]\n", id="a line"
        ),
        pytest.param("nn.BatchNorm1d(8, 0.8)", "nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]", id="the last line"),
        pytest.param("nn.BatchNorm1d(8, 0.8)  \n", "nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]\n", id="blanks"),
        pytest.param(
            "nn.BatchNorm1d(8, 0.8)  # noqa: E501\n",
            "nn.BatchNorm1d(8, 0.8)  # noqa: E501  # nndoctor: ignore[ND405]\n",
            id="behind another comment",
        ),
        pytest.param(
            "nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND101] why\n",
            "nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND101, ND405] why\n",
            id="in a comment that is there",
        ),
        pytest.param(
            "# nndoctor: ignore[ND101] why\nnn.BatchNorm1d(8, 0.8)\n",
            "# nndoctor: ignore[ND101, ND405] why\nnn.BatchNorm1d(8, 0.8)\n",
            id="in a comment above",
        ),
        pytest.param(
            "# nndoctor: file-ignore[ND101]\nnn.BatchNorm1d(8, 0.8)\n",
            "# nndoctor: file-ignore[ND101]\nnn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]\n",
            id="not for the whole file",
        ),
        pytest.param(
            "net = [\n    nn.BatchNorm1d(\n        8, 0.8),\n]\n",
            "net = [\n    nn.BatchNorm1d(  # nndoctor: ignore[ND405]\n        8, 0.8),\n]\n",
            id="inside a statement",
        ),
        pytest.param(
            "net = nn.BatchNorm1d(8, 0.8), 1 + \\\n    2\n",
            "net = nn.BatchNorm1d(8, 0.8), 1 + \\\n    2  # nndoctor: ignore[ND405]\n",
            id="a backslash",
        ),
        pytest.param(
            'net = nn.BatchNorm1d(8, 0.8), """\n#"""\nx = 1\n',
            'net = nn.BatchNorm1d(8, 0.8), """\n#"""  # nndoctor: ignore[ND405]\nx = 1\n',
            id="a string over two lines",
        ),
        pytest.param(
            "if x: net = nn.BatchNorm1d(8, 0.8)\r\n",
            "if x: net = nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]\r\n",
            id="CRLF",
        ),
        pytest.param(f"{BOTH}\n", f"{BOTH}  # nndoctor: ignore[ND101, ND405]\n", id="two rules on a line"),
    ],
)
def test_where_the_comment_goes(run, before: str, after: str) -> None:
    path = Path("net.py")
    newline = "\r\n" if "\r\n" in before else "\n"
    path.write_bytes((IMPORT.replace("\n", newline) + before).encode())
    status, out, _ = run("scan", "net.py", "--add-ignore")
    assert path.read_bytes() == (IMPORT.replace("\n", newline) + after).encode()
    assert status == 0
    assert "say behind each comment why" in out
    status, out, _ = run("scan", "net.py", "--add-ignore")
    assert (status, "nothing to silence" in out) == (0, True)
    assert path.read_bytes() == (IMPORT.replace("\n", newline) + after).encode()
    assert run("scan", "net.py", "--pedantic", "--select", "ND405,ND002,ND003")[0] == 0


def test_encodings_and_byte_order_marks_stay(run) -> None:
    latin, marked = Path("latin.py"), Path("marked.py")
    latin.write_bytes(b"# coding: latin-1\nfrom torch import nn\nnn.BatchNorm1d(8, 0.8), '\xe9'\n")
    marked.write_bytes(b"\xef\xbb\xbffrom torch import nn; nn.BatchNorm1d(8, 0.8)\n")
    assert run("scan", "--add-ignore")[0] == 0
    assert latin.read_bytes().endswith(b"nn.BatchNorm1d(8, 0.8), '\xe9'  # nndoctor: ignore[ND405]\n")
    assert marked.read_bytes().startswith(b"\xef\xbb\xbffrom torch import nn; nn.BatchNorm1d(8, 0.8)  # nndoctor: ")


def write_notebook(path: Path, *cells: list[str], indent: int | None = 1) -> None:
    code = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
    document = {"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document, indent=indent) + "\n", encoding="utf-8")


def test_cells_of_notebooks(run) -> None:
    path = Path("net.ipynb")
    write_notebook(
        path, [IMPORT, "!ls ("], ["%matplotlib inline\n", "a = 1\n", "norm = nn.BatchNorm1d(8, 0.8)"], ["def f(:\n"]
    )
    assert run("scan", "net.ipynb", "--add-ignore")[0] == 0
    sources = [cell["source"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    commented = "norm = nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]"
    assert sources == [[IMPORT, "!ls ("], ["%matplotlib inline\n", "a = 1\n", commented], ["def f(:\n"]]
    before = path.read_bytes()
    assert run("scan", "net.ipynb", "--add-ignore")[0] == 0
    assert path.read_bytes() == before


def test_a_notebook_that_is_laid_out_oddly_is_left_alone(run) -> None:
    path = Path("net.ipynb")
    document = {"cells": [{"cell_type": "code", "source": [IMPORT, "nn.BatchNorm1d(8, 0.8)"]}]}
    path.write_text(json.dumps(document, separators=(",", " : ")), encoding="utf-8")
    before = path.read_bytes()
    status, out, _ = run("scan", "net.ipynb", "--add-ignore")
    assert (status, path.read_bytes()) == (1, before)
    assert "net.ipynb is left as it is: its JSON is not laid out as Jupyter does" in " ".join(out.split())


def test_what_cannot_be_parsed_gets_no_comment(run) -> None:
    path = Path("net.py")
    path.write_text("import torch\ndef f(:\n", encoding="utf-8")
    status, out, _ = run("scan", "net.py", "--add-ignore")
    assert (status, path.read_text(encoding="utf-8")) == (2, "import torch\ndef f(:\n")
    assert "nothing to silence" in out


def test_only_what_is_shown_gets_a_comment(run) -> None:
    path = Path("net.py")
    path.write_text(f"{IMPORT}{BOTH}\n", encoding="utf-8")
    run("scan", "net.py", "--select", "ND405", "--add-ignore")
    assert path.read_text(encoding="utf-8") == f"{IMPORT}{BOTH}  # nndoctor: ignore[ND405]\n"


def test_old_findings_of_a_baseline_get_none(run) -> None:
    path = Path("net.py")
    path.write_text(f"{IMPORT}a = nn.BatchNorm1d(8, 0.8)\n", encoding="utf-8")
    run("scan", "--baseline", "old.json", "--update-baseline")
    path.write_text(f"{IMPORT}a = nn.BatchNorm1d(8, 0.8)\nb = nn.BatchNorm1d(8, 0.8)\n", encoding="utf-8")
    status, out, _ = run("scan", "--baseline", "old.json", "--add-ignore")
    assert status == 0
    assert "silenced 1 finding in 1 file" in out
    assert path.read_text(encoding="utf-8").splitlines()[1:] == [
        "a = nn.BatchNorm1d(8, 0.8)",
        "b = nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]",
    ]


def test_diff_shows_the_comments_and_writes_none(run) -> None:
    path = Path("net.py")
    path.write_text(f"{IMPORT}nn.BatchNorm1d(8, 0.8)\n", encoding="utf-8")
    status, out, err = run("scan", "net.py", "--add-ignore", "--diff")
    assert (status, err) == (1, "would silence 1 finding in 1 file\n")
    assert "+nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]" in out.splitlines()
    assert path.read_text(encoding="utf-8") == f"{IMPORT}nn.BatchNorm1d(8, 0.8)\n"


def test_standard_input_comes_out_with_comments(run, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = f"{IMPORT}nn.BatchNorm1d(8, 0.8)\n".encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(sick)))
    status, out, err = run("scan", "-", "--add-ignore")
    assert (status, err) == (0, "silenced 1 finding in 1 file\n")
    assert out == f"{IMPORT}nn.BatchNorm1d(8, 0.8)  # nndoctor: ignore[ND405]\n"


def test_fixes_come_first(run) -> None:
    status, _, err = run("scan", "--add-ignore", "--fix")
    assert (status, "run --fix first" in err) == (2, True)
