"""SourceFile: text and trees of whatever lies on the disk, and where the nodes stand."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndoctor.findings import Location
from nndoctor.scan.nesting import MAX_BRACKETS, MAX_CHAIN, MAX_CODE, MAX_PATTERN
from nndoctor.scan.source import SourceFile, read_source, source_from_text


def source(text: str) -> SourceFile:
    return source_from_text(textwrap.dedent(text), "train.py")


def spot(file: SourceFile, code: str) -> cst.CSTNode:
    """The outermost expression or statement that is written so."""
    assert file.module is not None
    waiting: list[cst.CSTNode] = [file.module]
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node, cst.Module) and file.module.code_for_node(node).strip() == code:
            return node
        waiting.extend(node.children)
    raise AssertionError(f"{code!r} is not in the tree")


def span(location: Location) -> tuple[int | None, ...]:
    return (location.line, location.column, location.end_line, location.end_column)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"x = 1\n", "x = 1\n", id="plain"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"x = 1", "x = 1", id="no newline at the end"),
        pytest.param(b"\xef\xbb\xbfx = 1\n", "x = 1\n", id="a byte order mark"),
        pytest.param(b"x = 1\r\ny = 2\r\n", "x = 1\r\ny = 2\r\n", id="CRLF"),
        pytest.param(b"x = 1\ry = 2\r", "x = 1\ny = 2\n", id="the CR of old Macs"),
        pytest.param(b"# coding: latin-1\nx = '\xe9'\n", "# coding: latin-1\nx = 'é'\n", id="a cookie"),
        pytest.param(
            b"#!/usr/bin/python\n# -*- coding: cp1252 -*-\nx = '\x80'\n",
            "#!/usr/bin/python\n# -*- coding: cp1252 -*-\nx = '€'\n",
            id="a cookie on line 2",
        ),
        pytest.param(
            "x = 1\n# coding: latin-1\n'é'".encode(), "x = 1\n# coding: latin-1\n'é'", id="no cookie below code"
        ),
    ],
)
def test_reads(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(data)
    file = read_source(path, tmp_path)
    assert (file.text, file.display, file.path) == (text, "train.py", path)
    assert file.module is not None
    assert file.module.code == text
    assert file.failures == ()


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        pytest.param(b"a = 1\nx = '\xe9'\n", 1, "byte 0xe9 on line 2 is not utf-8; save it as UTF-8", id="not UTF-8"),
        pytest.param("x = 1\n".encode("utf-16"), 1, "byte 0xff on line 1 is not utf-8", id="UTF-16"),
        pytest.param(b"# coding: klingon\nx = 1\n", 1, "unknown encoding: klingon", id="an unknown cookie"),
        pytest.param(b"# coding: hex\nx = 1\n", 1, "'hex' is not a text encoding", id="a cookie that is no text"),
        pytest.param(b"x = 1\ny = '\0'\n", 2, "it contains a NUL character", id="a NUL"),
        pytest.param(b"import torch\nprint 'loss', loss\n", 2, "written for Python 2; convert it", id="Python 2"),
        pytest.param(b"x = 1\nif x <> 2: pass\n", 2, "written for Python 2", id="a Python 2 operator"),
        pytest.param(b"for x in y\n    pass\n", 1, "expected ':'; correct it or exclude it", id="a missing colon"),
        pytest.param(b"x = (1,\n", 1, "'(' was never closed", id="a bracket left open"),
        pytest.param(b"x = '''\n", 1, "unterminated triple-quoted string", id="a string left open"),
    ],
)
def test_says_why_there_is_no_tree(tmp_path: Path, data: bytes, line: int, words: str) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(data)
    file = read_source(path, tmp_path)
    assert file.module is None
    (failure,) = file.failures
    assert failure.code == "ND001"
    assert words in failure.message
    assert failure.location is not None
    assert (failure.location.path, failure.location.line) == ("train.py", line)


def test_a_missing_file_and_a_folder_are_failures(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.py", tmp_path):
        file = read_source(path, tmp_path.parent)
        assert file.module is None
        assert file.failures[0].message.startswith("cannot read this file: ")


def test_display_is_relative_to_the_root(tmp_path: Path) -> None:
    path = tmp_path / "package" / ".." / "train.py"
    assert read_source(path, tmp_path).display == "train.py"
    assert read_source(path, tmp_path / "elsewhere").display == (tmp_path / "train.py").as_posix()


def test_files_are_compared_by_identity() -> None:
    first, second = source("x = 1\n"), source("x = 1\n")
    assert len({first, second}) == 2


PROGRAM = """\
    import torch

    @decorated
    def train(
        model,
    ):
        # a comment of the loop
        for x, y in loader:  # another
            loss = f(criterion(model(x),
                              y) )
            loss.backward(); optimizer.step()
        return lambda: (lambda: 0 if x else 1)
    class Net(torch.nn.Module): pass
    if x: pass
    elif y:
        pass
    """


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import torch", (1, 1, 1, 13)),
        ("loader", (8, 17, 8, 23)),
        ("model(x)", (9, 28, 9, 36)),
        ("optimizer.step()", (11, 26, 11, 42)),
        ("lambda: (lambda: 0 if x else 1)", (12, 12, 12, 43)),
        ("class Net(torch.nn.Module): pass", (13, 1, 13, 28)),
    ],
    ids=lambda value: value.partition("\n")[0] if isinstance(value, str) else "",
)
def test_locates(code: str, expected: tuple[int, ...]) -> None:
    file = source(PROGRAM)
    assert span(file.location(spot(file, code))) == expected


def test_a_compound_statement_is_located_at_its_header() -> None:
    file = source(PROGRAM)
    assert file.module is not None
    function = file.module.body[1]
    assert isinstance(function, cst.FunctionDef)
    assert span(file.location(function)) == (4, 1, 6, 3)
    loop = function.body.body[0]
    assert span(file.location(loop)) == (8, 5, 8, 24)
    assert file.line_text(file.location(loop)) == "    for x, y in loader:  # another"


def test_locates_backwards_and_with_crlf_and_tabs() -> None:
    file = source_from_text("if x:\r\n\té = f(1)\r\n\r\ny = 'a\\\r\nb'", "train.py")
    assert span(file.location(spot(file, "y = 'a\\\r\nb'"))) == (4, 1, 5, 3)
    assert span(file.location(spot(file, "f(1)"))) == (2, 6, 2, 10)
    assert file.line_text(Location("train.py", 2)) == "\té = f(1)"


def test_a_node_of_another_tree_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="Name is not a node of this tree"):
        source("x = 1\n").location(cst.Name("x"))


def test_there_is_no_text_beyond_the_file() -> None:
    file = source("x = 1\n")
    assert file.line_text(Location("train.py", 99)) == ""
    assert file.line_text(Location("train.py", 0)) == ""


@pytest.mark.parametrize(
    ("parsable", "refused"),
    [
        pytest.param("(" * MAX_BRACKETS + ")" * MAX_BRACKETS, "(" * 5000 + ")" * 5000, id="brackets"),
        pytest.param("x = 1 # " + "(" * 5000, "[" * 5000, id="brackets left open"),
        pytest.param("x = '" + "[" * 5000 + "'", "x = '' + " + "[" * 5000 + "''", id="brackets in a string"),
        pytest.param("1" + "+1" * (MAX_CHAIN - 1), "1" + "+1" * 20_000, id="operators"),
        pytest.param("x = [" + "-1, " * 20_000 + "]", "x = " + "-" * 20_000 + "1", id="signs"),
        pytest.param("x\n" + "".join("elif_ = 1\n" * 5000), "if x: 1\n" + "elif x: 1\n" * 20_000, id="branches"),
        pytest.param("if x: y\n" * 5000, "1" + " if 1 else 1" * 20_000, id="conditions"),
        pytest.param("f'{" + "(" * 90 + ")" * 90 + "}'", "f'{" + "(" * 5000 + ")" * 5000 + "}'", id="in an f-string"),
        pytest.param("f'" + "{{" * 5000 + "'", "rf'{" + "-" * 20_000 + "1}'", id="signs in an f-string"),
        pytest.param("a" + ".b" * (MAX_CHAIN - 1), "a" + ".b(1, 2)" * 20_000, id="methods"),
        pytest.param(
            "x = (\n" + "# a comment\n" * 5000 + ")", "x = (\n" + "'a'\n" * 20_000 + ")", id="strings in a row"
        ),
        pytest.param("a = \\\n    1\n" * 5000, "a = 1" + " + \\\n  1" * 20_000, id="lines joined"),
        pytest.param(
            "match x:\n case " + "[" * MAX_PATTERN + "]" * MAX_PATTERN + ": 1",
            "match x:\n case " + "[" * 40 + "]" * 40 + ": 1",
            id="patterns",
        ),
        pytest.param("-(" * 50 + "1" + ")" * 50, ("-" * 450 + "(") * 90, id="both"),
        pytest.param(f"x = '{'a' * MAX_CODE}'  # {'a' * MAX_CODE}", "x = [" + "1," * MAX_CODE + "]", id="length"),
    ],
)
def test_refuses_what_would_overflow_the_parser(parsable: str, refused: str) -> None:
    """A crash of the native parser would end this test run."""
    file = source_from_text(parsable + "\n", "generated.py")
    assert file.failures == ()
    assert file.module is not None
    assert parsable.startswith(file.line_text(file.location(file.module.body[0])))
    file = source_from_text(refused + "\n", "generated.py")
    assert file.module is None
    assert "exclude it" in file.failures[0].message


def test_twenty_thousand_lines_are_fine() -> None:
    file = source_from_text("x = 1\n" * 20_000, "long.py")
    assert file.module is not None
    assert file.location(file.module.body[-1]).line == 20_000


@pytest.mark.parametrize("collecting", [True, False])
def test_leaves_the_collector_as_it_was(collecting: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if collecting else gc.disable()
        for text in ("x = 1\n", "x = = 1\n"):
            assert source(text).failures is not None
            assert gc.isenabled() is collecting
    finally:
        gc.enable() if before else gc.disable()


def test_a_file_that_is_not_parsed_does_not_import_libcst() -> None:
    program = """
        import sys
        from pathlib import Path
        from nndoctor.scan import files, project, source
        read = source.read_source(Path(source.__file__), Path.cwd())
        assert "SourceFile" in read.text
        heavy = {"libcst", "pathspec"} & set(sys.modules)
        assert not heavy, heavy
        assert read.location(read.module.body[0]).line == 1
        heavy = {"libcst.matchers", "libcst.codemod"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SYMBOLS = "()[]{}:,.=+-*#'\"\\\n\r\t\0%!?@`$é\u2028\x0c\ud800\ufeff"
WORDS = "\r\n|'''|\"\"\"|f'|{{|}}|<>|def|class|if|else|lambda|match|case|%%time|x=!|async|yield|await|print|pass"
FRAGMENTS = st.sampled_from([*SYMBOLS, *WORDS.split("|")])


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join), st.lists(FRAGMENTS).map(" ".join)))
def test_no_text_raises(text: str) -> None:
    file = source_from_text(text, "train.py")
    assert (file.module is None) == bool(file.failures)
    for node in file.module.body if file.module else ():
        assert 1 <= file.location(node).line <= text.count("\n") + text.count("\r") + 1


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.py"
    path.write_bytes(data)
    file = read_source(path, path.parent)
    assert (file.module is None) == bool(file.failures)
