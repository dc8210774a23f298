"""What nobody means well: the scan runs nothing of it, and every format shows it without obeying it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from reports import OBEYED

import nndoctor
from nndoctor.cli import main
from nndoctor.report.output import FORMATS

FINDING = "torch.nn.BatchNorm1d(3, 0.9)"  # ND405
DEPRECATED = "torch.nn.utils.clip_grad_norm(m.parameters(), 1.0)"  # ND216, which has a fix
IN_FILES = tuple(name for name in FORMATS if name != "concise")
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
SGR = re.compile(r"\x1b\[[\d;]*m")  # colours, which are ours
COMMAND = re.compile(r"::(?:error|warning|notice) (?:[a-zA-Z]+=[^:,]*,?)+::.*")


def scanned(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, dict[str, str]]:
    """The exit status, what was printed, and the reports in all other formats, of a scan of the working directory."""
    reports = folder.parent / "reports"
    reports.mkdir(exist_ok=True)
    outputs = [f"--output-format={name}={reports / name}" for name in IN_FILES]
    options = ["--pedantic", "--isolated", "--no-cache", "--color", "always", "--output-format=concise", *outputs]
    before, sys.argv = sys.argv, ["nndoctor", "scan", *options, *(arguments or (".",))]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    printed = capsys.readouterr()
    assert "the doctor itself failed" not in printed.err
    written = {path.name: path.read_bytes().decode("utf-8") for path in reports.iterdir()}
    return int(ended.value.code or 0), printed.out + printed.err, written


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the attributes that run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def check(concise: str, written: dict[str, str]) -> None:
    """No format is broken, none holds what a terminal, a browser, a service or a runner would obey."""
    document = json.loads(written["json"])
    told = len(document["findings"]) + len(document["failures"])
    assert len(json.loads(written["gitlab"])) == told
    assert len(json.loads(written["sarif"])["runs"][0]["results"]) == len(document["findings"])
    assert len(list(ElementTree.fromstring(written["junit"]).iter("testcase"))) == max(told, 1)
    assert len(written["github"].splitlines()) == told
    assert all(COMMAND.fullmatch(line) for line in written["github"].splitlines())
    assert len(concise.splitlines()) == told
    tokens = [token for block in MARKDOWN.parse(written["markdown"]) for token in (block, *(block.children or ()))]
    assert not [token for token in tokens if token.type.startswith("html")]
    if "html" in written:
        page = Page(written["html"])
        assert "img" not in page.elements
        assert page.handlers == []
    for name, text in {**written, "concise": concise}.items():
        assert not set(OBEYED) & set(SGR.sub("", text) if name == "full" else text), name
        assert "\udcff" not in text, name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


# Nothing is run

MARK = "from pathlib import Path\nPath(__file__).parent.joinpath('EXECUTED').touch()\n"
SHADOWS = "json random attr rich typer libcst tomli pathspec torch numpy IPython yaml colorama secrets".split()
PICKLE = b"cposix\nsystem\n(S'touch EXECUTED'\ntR."
PROJECT = """
[build-system]
requires = ["evil"]
build-backend = "build_evil"
backend-path = ["."]
[tool.nndoctor]
extend-select = ["ND1"]
[tool.pytest.ini_options]
addopts = "-p plugin"
"""


@pytest.mark.parametrize("module", [True, False], ids=["python -m", "the console script"])
def test_nothing_of_the_user_s_is_imported_run_or_unpickled(module: bool, project: Path) -> None:
    """Beside a pool, for there are enough files, and with every module that the doctor itself imports shadowed."""
    for name in (*SHADOWS, "sitecustomize", "usercustomize", "conftest", "setup", "build_evil", "plugin", "__main__"):
        (project / f"{name}.py").write_text(f"import torch\n{MARK}", encoding="utf-8")
    for number in range(20):
        (project / f"train{number}.py").write_text(f"import torch, json, model\n{MARK}{FINDING}\n", encoding="utf-8")
    (project / "package").mkdir()
    (project / "package" / "__init__.py").write_text(MARK, encoding="utf-8")
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    for name in ("model.pt", "model.pkl", "weights.bin", "model.py"):
        (project / name).write_bytes(PICKLE)
    (project / "x.pth").write_text("import os; os.system('touch EXECUTED')\n", encoding="utf-8")
    (project / ".git").mkdir()
    (project / ".git" / "config").write_text("[core]\nfsmonitor = touch EXECUTED\n", encoding="utf-8")
    package = Path(nndoctor.__file__).parents[1]
    script = f"import sys; sys.path.append({str(package)!r}); from nndoctor.__main__ import run; run()"
    program = ["-m", "nndoctor"] if module else ["-P" if sys.version_info >= (3, 11) else "-I", "-c", script]
    done = subprocess.run(
        [sys.executable, *program, "scan", ".", "--jobs", "2", "--log", "log.jsonl"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("error ND405") == 20
    assert not (project / "EXECUTED").exists()


# What is in the files

LONG = 10_000_000
DEEP = 10_000
CODE = {
    "a string of 10 MB": f"x = '{'a' * LONG}'",
    "a comment of 10 MB beside a finding": f"{FINDING}  # {'a' * LONG}",
    "10 MB of blanks": " " * LONG,
    "a name of 10 MB": f"{'a' * LONG} = {FINDING}",
    "a list of 10 MB": f"x = [{'1, ' * (LONG // 3)}]",
    "10 MB of statements": "x=1;" * (LONG // 4),
    "10 MB of open brackets": "(" * LONG,
    "10 MB of quotes": "'" * LONG,
    "10 MB of codes to silence": f"x = 1  # nndoctor: ignore[{'ND101,' * 100_000}]",
    "deep brackets": f"x = {'(' * DEEP}1{')' * DEEP}",
    "deep lists": f"x = {'[' * DEEP}{']' * DEEP}",
    "deep dicts": f"x = {'{1: ' * DEEP}1{'}' * DEEP}",
    "deep calls": f"x = {'f(' * DEEP}{')' * DEEP}",
    "a long chain of calls": f"x = f{'()' * DEEP}",
    "a long chain of attributes": f"x = f{'.a' * DEEP}",
    "a long chain of conditions": f"x = 1{' if 1 else 1' * DEEP}",
    "many decorators": "@f\n" * DEEP + "def g(): pass",
    "deep ifs": "".join(f"{' ' * level}if x:\n" for level in range(1_000)) + " " * 1_000 + "pass",
    "deep lambdas": f"x = {'lambda: ' * DEEP}1",
    "deep patterns": f"match x:\n case {'[(' * DEEP}1: pass",
    "many strings in a row": f"x = {DEEP * '(1)'}{chr(39) * 2 * DEEP}",
    "a number of a million digits": f"x = {'9' * 1_000_000}\ny = x * x",
    "numbers that would fill the memory": "x = 10 ** 10 ** 10\ny = 2 << 10 ** 10\nz = 'a' * 10 ** 12",
    "a NUL": f"{FINDING}\0",
    "form feeds": "\f" * DEEP + FINDING,
    "lone carriage returns": f"x = 1\r{FINDING}\r",
    "a byte order mark inside": f"x = 1\n\ufeff{FINDING}",
}


@pytest.mark.timeout(120)  # far above what any of them takes
@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_a_program_ends_in_a_clear_failure_or_a_clean_result(
    code: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "train.py").write_text(f"import torch\n{code}\n", encoding="utf-8", newline="")
    status, concise, written = scanned(project, capsys)
    check(concise, written)
    assert status in (0, 1, 2)
    assert (status == 2) == ("failure: ND001 cannot parse this file: " in concise)
    assert max(map(len, written.values())) < 200_000  # the page has styles of its own; nothing of 10 MB gets into it


BYTES = {
    "UTF-16": "import torch\n".encode("utf-16"),
    "no text": b"import torch\n\xff\xfe\n",
    "a surrogate": b"import torch\nx = '\xed\xa0\x80'\n",
    "a zip archive": b"PK\x03\x04torch" + bytes(range(256)) * 40,
    "a pickle": PICKLE + b"torch",
    "nothing but NULs": b"torch" + b"\0" * 10_000,
    "an encoding that is none": b"# coding: ../../torch\n",
    "an encoding with side effects": b"# coding: zlib\nimport torch\n",
    "an encoding of escapes": b"# coding: unicode_escape\nimport torch\nx = 1 # \\x1b[31m\n" + FINDING.encode(),
    "an encoding that hides": b"# coding: utf_7\nimport torch\n+AHQAbwByAGMAaA-\n" + FINDING.encode(),
}


@pytest.mark.parametrize("suffix", [".py", ".ipynb", ".zip"])
@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_a_file_of_other_bytes_ends_so_too(
    data: bytes, suffix: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / f"train{suffix}").write_bytes(data)
    status, concise, written = scanned(project, capsys, f"train{suffix}")
    check(concise, written)
    assert (status == 2) == ("failure: ND001 cannot " in concise)


def cell(source: object, **rest: object) -> dict[str, object]:
    return {"cell_type": "code", "source": source, **rest}


GOOD = cell(f"import torch\n{FINDING}  # seen")
NOTEBOOKS = {
    "empty": "torch",
    "a list": '[1, "torch"]',
    "deep lists": '{"torch": ' + "[" * 100_000,
    "deep objects": '{"torch": ' * DEEP + "1" + "}" * DEEP,
    "a huge number": f'{{"cells": [], "torch": {"9" * 100_000}}}',
    "numbers that are none": '{"cells": [{"cell_type": "code", "source": NaN}], "torch": Infinity}',
    "cells that are no list": json.dumps({"cells": {"1": GOOD}}),
    "cells that are no cells": json.dumps({"cells": [None, 1, "x", [], {}, cell(None), cell(3), cell({}), GOOD]}),
    "lines that are no lines": json.dumps({"cells": [cell(["import torch\n", None, 2, ["x"], f"{FINDING}  # seen"])]}),
    "other types": json.dumps({"cells": [{**GOOD, "metadata": 3}], "metadata": [1], "nbformat": {}}),
    "languages that are no names": json.dumps(
        {"cells": [{**GOOD, "metadata": {"vscode": {"languageId": []}}}], "metadata": {"language_info": {"name": [1]}}}
    ),
    "types that are no names": json.dumps({"cells": [{"cell_type": ["code"], "source": "torch"}, GOOD]}),
    "worksheets that are none": json.dumps({"worksheets": [1, None, {"cells": 3}, {"cells": [GOOD]}]}),
    "keys twice": '{"cells": [], "cells": [{"cell_type": "code", "source": 1, "source": "import torch"}]}',
    "control characters": json.dumps({"cells": [cell("import torch\n\x1b[31m"), cell("\ud800 \0"), GOOD]}),
    "many cells": json.dumps({"cells": [cell("import torch")] * 5_000}),
    "many bad cells": json.dumps({"cells": [cell("import torch (")] * 200}),
    "a cell of 10 MB": json.dumps({"cells": [cell(f"import torch\n{'%' * LONG}"), GOOD]}),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("text", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_a_notebook_ends_so_too(text: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.ipynb").write_text(text, encoding="utf-8")
    status, concise, written = scanned(project, capsys)
    check(concise, written)
    assert (status == 2) == ("failure: ND001 cannot read this notebook: " in concise)
    assert ("ND405" in concise) == ("# seen" in text and '"cells": {' not in text and "vscode" not in text)


# How it is called, and what it says

NAMES = [
    "new\nline.py",
    "carriage\rreturn.py",
    "\x1b[31mescape\x1b]0;t\x07.py",
    "\x9b31m.py",
    "[bold red]markup[link=x].py",
    "%0A::error::x.py",
    "::error title=a,b::x.py",
    "##[error]x.py",
    "]]>.py",
    "&lt;<img src=x onerror=alert(1)>.py",
    "'\"><script>alert(1)<!--.py",
    "a|b`c`*d*_e_[f](g)~h~#i@me$x$.py",
    "\u202efdp.py",
    "\u2028.py",
    " .py",
    "-x.py",
    "--fix.py",
    "a,b:c=d;e.py",
    "\udcff.py",
    "\ufffe.py",
    "tab\t.py",
    "#.py",
    "%s{0}${x}.py",
    "x.zip.py",
    "a" * 200 + ".py",
]


@pytest.mark.skipif(os.name != "posix", reason="other systems refuse such names")
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_may_have_any_name(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        (project / name).write_text(f"import torch\n{FINDING}\n", encoding="utf-8")
        (project / f"bad{name}").write_text("import torch (\n", encoding="utf-8")
    except (OSError, UnicodeError):
        pytest.skip("this file system refuses such names")
    for arguments in ((), ("--", name, f"bad{name}")):
        status, concise, written = scanned(project, capsys, *arguments)
        check(concise, written)
        assert (status, concise.count(": error: ND405 ")) == (2, 1)


TEXTS = [*NAMES[:14], "<b>&amp;</b>", "\x00", "\x7f", "\ud800", "```\n# h", "</pre></code></script>", "\\", "%%html"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_code_may_say_anything(text: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a comment beside a finding, in a string that is part of its message, and in one on the path that proves it."""
    line = text.replace("\n", "").replace("\r", "").replace("\0", "").encode("utf-8", "replace").decode()
    code = f"""import torch, torch.nn.functional as F
{FINDING}  # {line}
def f(d, y):
    p = torch.softmax(d[{json.dumps(line, ensure_ascii=False)}], 1)  # {line}
    return F.cross_entropy(p, d[r'''{line.replace("'", "").rstrip(chr(92))}'''])  # {line}
x = 1  # nndoctor: ignore[{line}] {line}
"""
    (project / "train.py").write_text(code, encoding="utf-8")
    source = {"cells": [cell(code), cell(f"x = = '{text}'")]}
    (project / "train.ipynb").write_text(json.dumps(source), encoding="utf-8")
    status, concise, written = scanned(project, capsys)
    check(concise, written)
    assert status in (1, 2)
    assert concise.count("ND405") == 2 or "non-printable" in concise


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_no_line_of_a_log_on_actions_is_a_command_of_the_code(
    text: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    line = text.replace("\n", "").replace("\r", "").replace("\0", "")
    code = f"import torch\n{FINDING}  # a\n::error::{line}\n".encode("utf-8", "replace")
    (project / "::error::x.py").write_bytes(code)
    sys.argv, before = ["nndoctor", "scan", "."], sys.argv
    try:
        with pytest.raises(SystemExit):
            main()
    finally:
        sys.argv = before
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if re.match(r"\s*::|.*##\[", line)]
    assert commands
    assert all(COMMAND.fullmatch(line) for line in commands)


def test_a_difference_is_harmless_on_a_terminal_and_exact_elsewhere(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    (project / "train.py").write_text(f"import torch\n{DEPRECATED}  # \x1b[31m\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["nndoctor", "scan", "train.py", "--diff", "--unsafe-fixes", "--isolated"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert f"-{DEPRECATED}  # \x1b[31m\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with pytest.raises(SystemExit):
        main()
    assert f"-{DEPRECATED}  # \u241b[31m\n" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


# Settings and the rest


@pytest.mark.parametrize(
    "settings",
    [
        f"x = {'[' * 20_000}\n[tool.nndoctor]\n",
        "[tool.nndoctor]\n" + "a." * 20_000 + "b = 1\n",
        '[tool.nndoctor]\n"\\u001b[31m\\n" = 1\n',
        '[tool.nndoctor]\nselect = ["\\u001b[31m"]\n',
        '[tool.nndoctor]\nextend = "\\u001b[31m"\n',
        '[tool.nndoctor]\nextend = "pyproject.toml"\n',
        '[tool.nndoctor]\nextend = "/dev/null\\u0000"\n',
        '[tool.nndoctor]\nextend = "/dev/zero"\n',
        '[tool.nndoctor]\nextend = "~nobody-of-that-name/x"\n',
        f'[tool.nndoctor]\nexclude = ["{"*a" * 30}b"]\n',
        f'[tool.nndoctor.per-file-ignores]\n"{"*a" * 30}b" = ["ND1"]\n',
        '[tool.nndoctor.per-file-ignores]\n"!" = ["ND1"]\n',
        "[tool.nndoctor]\nselect = [{a = 1}]\n",
        "tool = 3 # nndoctor\n",
        "[[tool.nndoctor]]\n",
        "\x00nndoctor",
        "nndoctor \x1b[31m",
    ],
)
def test_settings_that_mean_no_good_are_refused_in_one_sentence(
    settings: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "train.py").write_text(f"import torch\n{FINDING}\n", encoding="utf-8")
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    sys.argv, before = ["nndoctor", "scan", "."], sys.argv
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    assert ended.value.code in (1, 2)
    assert (err == "") == (ended.value.code == 1)
    assert "itself failed" not in err
    assert err.count("\n") <= 1
    assert not set(OBEYED) & set(out + err)


@pytest.mark.timeout(120)
def test_patterns_that_take_for_ever_do_not(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ("a" * 200 + ".py")).write_text("import torch\n", encoding="utf-8")
    (project / ".gitignore").write_text(
        "*a" * 30 + "b\n" + "**/" * 500 + "x\n[\n\\\n!\n" + "(" * 5_000, encoding="utf-8"
    )
    (project / "folder").mkdir()
    (project / "folder" / ".gitignore").symlink_to("/dev/zero")
    assert scanned(project, capsys)[0] == 0
    assert scanned(project, capsys, ".", "--exclude", "*a" * 30 + "b")[:2] == (
        2,
        f"nndoctor: error: the pattern '{'*a' * 30}b' has more than 4 * within one name: write fewer\n",
    )


@pytest.mark.skipif(os.name != "posix", reason="needs links and devices")
@pytest.mark.timeout(120)
def test_what_is_no_file_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Even where an import names it: a read of them would never end."""
    os.mkfifo(project / "pipe.py")
    (project / "zero.py").symlink_to("/dev/zero")
    (project / "loop.py").symlink_to("loop.py")
    (project / "lost.py").symlink_to("nowhere.py")
    (project / "folder.py").mkdir()
    (project / "self").symlink_to(".")
    code = f"import torch, pipe, zero, loop, lost, folder\nfrom pipe import *\n{FINDING}\n"
    (project / "train.py").write_text(code, encoding="utf-8")
    status, concise, written = scanned(project, capsys)
    check(concise, written)
    assert (status, concise.count("ND405")) == (1, 1)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs such a device")
@pytest.mark.timeout(120)
def test_a_device_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told, _ = scanned(project, capsys, "/dev/zero")
    assert (status, told.count("\n")) == (2, 1)
    assert "/dev/zero: neither a file nor a folder" in told
