"""Notebooks: cells as one program, IPython's own syntax taken out, one bad cell costs one cell."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import libcst as cst
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndoctor.scan.notebook import without_magics
from nndoctor.scan.source import SourceFile, source_from_text


def notebook(*cells: str | tuple[str, str], **metadata: Any) -> SourceFile:
    """A notebook of format 4; a plain string is a code cell, a pair another kind."""
    pairs = [("code", cell) if isinstance(cell, str) else cell for cell in cells]
    raw = [{"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)} for kind, text in pairs]
    return source_from_text(json.dumps({"cells": raw, "metadata": metadata, "nbformat": 4}), "train.ipynb")


def calls(file: SourceFile) -> dict[str, str]:
    """Where each function is called by name."""
    found: dict[str, str] = {}
    waiting: list[cst.CSTNode] = [file.module] if file.module else []
    while waiting:
        node = waiting.pop()
        waiting.extend(node.children)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
            found[node.func.value] = str(file.location(node))
    return found


def test_cells_are_one_program_and_all_kinds_are_counted() -> None:
    file = notebook(("markdown", "# Training"), "import torch\nbuild()", ("raw", "x"), "\n\ntrain()\n", "")
    assert file.failures == ()
    assert calls(file) == {"build": "train.ipynb:cell 2:2:1", "train": "train.ipynb:cell 4:3:1"}
    assert file.module is not None
    location = file.location(file.module.body[-1])
    assert (location.end_line, location.end_column) == (3, 8)
    assert file.line_text(location) == "train()"


def test_format_3_keeps_its_cells_in_worksheets() -> None:
    cells = [{"cell_type": "heading", "source": "x"}, {"cell_type": "code", "input": ["a()\n", "b()"]}]
    file = source_from_text(json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}), "old.ipynb")
    assert calls(file) == {"a": "old.ipynb:cell 2:1:1", "b": "old.ipynb:cell 2:2:1"}


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        pytest.param("%matplotlib inline\nx = 1\n", "pass\nx = 1\n", id="a line magic"),
        pytest.param("!pip install torch\nx = 1\n", "pass\nx = 1\n", id="a shell command"),
        pytest.param("!pip install \\\n  torch\nx = 1\n", "pass\n\nx = 1\n", id="a command over two lines"),
        pytest.param("!echo don't ( \"\nx = 1\n", "pass\nx = 1\n", id="quotes and brackets in a command"),
        pytest.param("pip install torch\n", "pass\n", id="pip without a mark"),
        pytest.param("if x:\n    %cd data\n", "if x:\n    pass\n", id="a magic in a block"),
        pytest.param("files = !ls\n", "files = get_ipython()\n", id="the output of a command"),
        pytest.param("  a, b = %sql x\n", "  a, b = get_ipython()\n", id="the output of a magic"),
        pytest.param("?torch\n", "pass\n", id="help before"),
        pytest.param("torch.nn.Linear??\n", "pass\n", id="help behind"),
        pytest.param("%time train(model)\n", "pass; train(model)\n", id="a timed statement keeps its columns"),
        pytest.param("%timeit -n 10 f(x)\n", "pass;         f(x)\n", id="a timed statement with options"),
        pytest.param("%time\nx = 1\n", "pass\nx = 1\n", id="a magic that times nothing"),
        pytest.param("%time for x in y: z\n", "pass\n", id="a timed compound statement"),
        pytest.param("%%time\ntrain()\n", "pass\ntrain()\n", id="a timed cell"),
        pytest.param("\n%%capture out\ntrain()\n", "\npass\ntrain()\n", id="a captured cell"),
        pytest.param("%%bash\nls -l\n", "\n\n", id="a cell in another language"),
        pytest.param("%%writefile model.py\nimport torch\n", "\n\n", id="a cell that is written to a file"),
        pytest.param("x = (7\n%3)\n", "x = (7\n%3)\n", id="a remainder inside brackets"),
        pytest.param("x = '''\n!ls\n%cd\n'''\n", "x = '''\n!ls\n%cd\n'''\n", id="marks inside a string"),
        pytest.param("x = 7 \\\n% 3\n", "x = 7 \\\n% 3\n", id="a remainder after a backslash"),
        pytest.param("# what is this?\n", "# what is this?\n", id="a question in a comment"),
        pytest.param("x != y\nx %= 2\nz = a % b\n", "x != y\nx %= 2\nz = a % b\n", id="operators"),
    ],
)
def test_magics(cell: str, plain: str) -> None:
    assert without_magics(cell) == plain


def test_a_pasted_block_loses_its_indentation() -> None:
    file = notebook("    x = 1\n    if x:\n        train()\n")
    assert file.failures == ()
    assert calls(file) == {"train": "train.ipynb:cell 1:3:5"}


def test_a_bad_cell_costs_one_cell() -> None:
    file = notebook("build()", "x = = 1\nlost()", "print 'loss'", ("markdown", "text"), "train()")
    assert calls(file) == {"build": "train.ipynb:cell 1:1:1", "train": "train.ipynb:cell 5:1:1"}
    assert [(failure.code, str(failure.location)) for failure in file.failures] == [
        ("ND001", "train.ipynb:cell 2:1:5"),
        ("ND001", "train.ipynb:cell 3:1:1"),
    ]
    assert file.failures[0].message == "skipped a cell that cannot be parsed: invalid syntax; correct it or exclude it"
    assert "Python 2" in file.failures[1].message
    assert file.failures[0].location is not None
    assert file.line_text(file.failures[0].location) == "x = = 1"


def test_await_and_return_at_the_top_are_fine() -> None:
    file = notebook("await train()\n", "return\n")
    assert file.failures == ()
    assert calls(file) == {"train": "train.ipynb:cell 1:1:7"}


def test_comments_silence_in_their_cell_only() -> None:
    file = notebook("build()\n", "train()  # nndoctor: ignore[ND101]\nbuild()\n")
    assert file.module is not None
    covered = [file.suppressions.covers("ND101", "x", file.location(statement)) for statement in file.module.body]
    assert covered == [False, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not valid JSON"),
        ("{", "it is not valid JSON"),
        ("[" * 100_000, "it is not valid JSON"),
        ("[]", "it has no list of cells"),
        ('{"cells": 3}', "it has no list of cells"),
        ('{"metadata": {}}', "it has no list of cells"),
    ],
)
def test_what_is_no_notebook(text: str, words: str) -> None:
    file = source_from_text(text, "broken.ipynb")
    assert file.module is None
    (failure,) = file.failures
    assert failure.message.startswith(f"cannot read this notebook: {words}")
    assert failure.code == "ND001"


@pytest.mark.parametrize(
    "metadata",
    [{"kernelspec": {"language": "R", "name": "ir"}}, {"language_info": {"name": "julia"}}],
    ids=["R", "Julia"],
)
def test_a_notebook_in_another_language_holds_no_program(metadata: dict[str, Any]) -> None:
    file = notebook("x <- 1", **metadata)
    assert (file.text, file.failures) == ("", ())


def test_a_cell_that_vs_code_marks_as_another_language_is_left_out() -> None:
    cells = [
        {"cell_type": "code", "source": "echo $x", "metadata": {"vscode": {"languageId": "shellscript"}}},
        {"cell_type": "code", "source": "train()", "metadata": {"vscode": {"languageId": "python"}}},
    ]
    file = source_from_text(json.dumps({"cells": cells}), "train.ipynb")
    assert calls(file) == {"train": "train.ipynb:cell 2:1:1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["cells", "metadata", "source", "x"]), inner),
)
LINE = st.sampled_from(
    [
        "%time f(",
        "%%time",
        "!ls '",
        "x = !ls",
        "x?",
        "if x:",
        "    y",
        "'''",
        "(",
        ")",
        "\\",
        "x = 1",
        "\ud800",
        "\r",
        "#",
    ]
)
CODE = st.lists(LINE).map("\n".join)
CELL = st.fixed_dictionaries({"cell_type": st.just("code"), "source": CODE | st.lists(CODE) | JSON})


@settings(deadline=None)
@given(JSON | st.fixed_dictionaries({"cells": st.lists(CELL | JSON)}))
def test_no_json_raises(document: object) -> None:
    file = source_from_text(json.dumps(document), "any.ipynb")
    assert file.module is not None or file.failures
    for node in file.module.body if file.module else ():
        location = file.location(node)
        assert location.cell is not None
        assert file.line_text(location).strip()


@given(CODE)
def test_magics_keep_the_number_of_lines(code: str) -> None:
    assert without_magics(textwrap.dedent(code)).count("\n") == textwrap.dedent(code).count("\n")
