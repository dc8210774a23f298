"""`nndoctor scan` on folders as they are: encodings, line ends, links, exclusions, and what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SICK = "from torch import nn\nnorm = nn.BatchNorm1d(8, 0.8)\n"


@pytest.fixture
def scan(run):
    """`nndoctor scan` in a folder of its own: exit status, `path:line CODE` of what it finds, stderr."""

    def scanned(*arguments: str) -> tuple[int | None, list[str], str]:
        status, out, err = run("scan", "--no-cache", "--output-format", "concise", *arguments)
        lines = [line.split(": ") for line in out.splitlines() if ": failure: " not in line]
        return status, [f"{line[0].rpartition(':')[0]} {line[2].split()[0]}" for line in lines], err

    return scanned


@pytest.mark.parametrize(
    ("data", "line"),
    [
        pytest.param(SICK.encode(), 2, id="plain"),
        pytest.param(SICK.encode().rstrip(), 2, id="no newline at the end"),
        pytest.param(SICK.replace("\n", "\r\n").encode(), 2, id="CRLF"),
        pytest.param(SICK.replace("\n", "\r").encode(), 2, id="CR"),
        pytest.param(b"\xef\xbb\xbf" + SICK.encode(), 2, id="a byte order mark"),
        pytest.param(b"# coding: latin-1\n# \xe9\n" + SICK.encode(), 4, id="Latin-1 that says so"),
    ],
)
def test_however_a_file_is_written_it_is_examined(scan, data: bytes, line: int) -> None:
    Path("net.py").write_bytes(data)
    assert scan() == (1, [f"net.py:{line} ND405"], "")


@pytest.mark.parametrize("name", ["empty.py", "empty.ipynb"])
def test_an_empty_file_is_healthy(scan, name: str) -> None:
    Path(name).touch()
    assert scan() == scan(name) == (0, [], "")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"import torch\nx = '\xe9'\n", id="not UTF-8"),
        pytest.param(b"import torch\nx = '\0'\n", id="a NUL"),
        pytest.param(b"import torch\nprint 'x'\n", id="Python 2"),
        pytest.param(b"# coding: klingon\nimport torch\n", id="an encoding that nobody knows"),
    ],
)
def test_what_cannot_be_examined_is_2_and_costs_nothing_else(scan, data: bytes) -> None:
    Path("bad.py").write_bytes(data)
    Path("net.py").write_text(SICK, encoding="utf-8")
    status, found, _ = scan()
    assert (status, [place.partition(":")[0] for place in found]) == (2, ["bad.py", "net.py"])
    assert scan("--exclude", "bad.py")[:2] == (1, ["net.py:2 ND405"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to root")
def test_a_file_that_may_not_be_read_is_2(scan) -> None:
    Path("net.py").write_text(SICK, encoding="utf-8")
    Path("net.py").chmod(0)
    assert scan()[:2] == (2, ["net.py:1 ND001"])


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links need a privilege on Windows")
def test_links_in_a_circle_end(scan) -> None:
    Path("sub").mkdir()
    Path("sub/net.py").write_text(SICK, encoding="utf-8")
    Path("sub/loop").symlink_to("..", target_is_directory=True)
    Path("self.py").symlink_to("self.py")
    Path("other.py").symlink_to("sub/net.py")
    assert scan() == (1, ["sub/net.py:2 ND405"], "")


def test_exclusions_of_options_and_settings_add_up(scan) -> None:
    for name in ("a.py", "b.py", "c.py", "sub/d.py", "sub/e.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(SICK, encoding="utf-8")
    Path("nndoctor.toml").write_text('exclude = ["a.py", "/e.py"]\n', encoding="utf-8")
    Path(".git").mkdir()
    Path(".gitignore").write_text("b.py\n", encoding="utf-8")
    Path("sub/.gitignore").write_text("d.py\n", encoding="utf-8")
    assert scan()[1] == ["c.py:2 ND405", "sub/e.py:2 ND405"]
    assert scan("--exclude", "c.py")[1] == ["sub/e.py:2 ND405"]
    assert scan("a.py", "c.py")[1] == ["a.py:2 ND405", "c.py:2 ND405"]
    assert scan("a.py", "c.py", "--force-exclude")[1] == ["c.py:2 ND405"]
