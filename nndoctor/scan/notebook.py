"""Notebooks as one program: the code cells one after the other, with what only IPython understands taken out."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nndoctor.scan.lexing import normal, statement_end

# Cell magics that run the cell as Python; any other means that the cell is another language, or a file to write.
PYTHON_CELL_MAGICS = frozenset({"time", "timeit", "capture", "prun", "wandb"})

_CELL_MAGIC = re.compile(r"\s*%%(\w*)")
_MAGIC = re.compile(
    r"""(?P<indent>[ \t]*)(?:
        %(?P<run>time|timeit|prun)(?:[ \t]+-\w+(?:[ \t]+\d+)?)*[ \t]+(?=[A-Za-z_(])  # runs the rest of its line
        | (?P<target>[A-Za-z_][\w., ]*)=[ \t]*[!%]   # x = !ls
        | [!%?]
        | %{0,2}[A-Za-z_][\w.*\[\]]*\?{1,2}[ \t]*(?:$)     # model.fit?
        | (?:pip|conda)[ \t]+(?:install|uninstall|list)\b
    )""",
    re.VERBOSE | re.MULTILINE,
)
_COMPOUND = re.compile(r"(?:if|for|while|with|try|def|class|async|match)\b")
_LINE_END = re.compile(r"(?<!\\)\n")  # a backslash at its end joins a line with the next


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its number among all cells, and the program's line on which it starts, both counted from 1."""

    number: int
    first_line: int
    text: str


class CellMap:
    """Which line of which cell a line of the program is; numbers count cells of every kind, as ruff's do."""

    __slots__ = ("_first_lines", "cells")

    def __init__(self, cells: tuple[Cell, ...]) -> None:
        self.cells = cells
        self._first_lines = [cell.first_line for cell in cells]

    def locate(self, line: int) -> tuple[int, int]:
        """Cell and line within it of a line of the program."""
        if not self.cells:
            return (1, line)
        cell = self.cells[max(0, bisect_right(self._first_lines, line) - 1)]
        return (cell.number, line - cell.first_line + 1)

    def program_line(self, cell: int, line: int) -> int:
        """The line of the program that is that line of that cell; raises KeyError for a cell without code."""
        for candidate in self.cells:
            if candidate.number == cell:
                return candidate.first_line + line - 1
        raise KeyError(f"cell {cell} holds no code")


def read_cells(text: str) -> tuple[Cell, ...]:
    """The code cells of a notebook of format 3 or 4; none if its language is not Python.

    Raises ValueError, with a sentence, if the text is not a notebook.
    """
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not valid JSON; open it in Jupyter and save it again") from None
    if not isinstance(notebook, dict) or not isinstance(raw_cells(notebook), list):
        raise ValueError("it has no list of cells; open it in Jupyter and save it again")
    if not _is_python(notebook.get("metadata")):
        return ()
    return tuple(_number(raw_cells(notebook)))


def without_magics(text: str) -> str:
    """A cell as plain Python with the same lines: magics, shell commands and help become `pass`."""
    cell_magic = _CELL_MAGIC.match(text)
    if cell_magic and cell_magic[1] not in PYTHON_CELL_MAGICS:
        return blank(text)
    pieces = []
    at = 0
    while at < len(text):
        magic = _MAGIC.match(text, at)
        end = _line_end(text, at) if magic else statement_end(text, at)
        pieces.append(_plain(magic, text[at:end]) if magic else text[at:end])
        at = end
    return "".join(pieces)


def blank(text: str) -> str:
    """As many empty lines."""
    return "\n" * text.count("\n")


def _line_end(text: str, start: int) -> int:
    end = _LINE_END.search(text, start)
    return end.end() if end else len(text)


def _plain(magic: re.Match[str], line: str) -> str:
    newlines = "\n" * line.count("\n")
    code = line[magic.end() - magic.start() :]
    if magic["run"] and not _COMPOUND.match(code):
        return f"{magic['indent']}pass;".ljust(len(line) - len(code)) + code  # the code keeps its columns
    if magic["target"]:
        return f"{magic['indent']}{magic['target']}= get_ipython(){newlines}"  # a name that nobody knows: any value
    return f"{magic['indent']}pass{newlines}"


def raw_cells(notebook: dict[str, Any]) -> Any:
    """The list of cells of a notebook's JSON; format 3 keeps it in worksheets."""
    worksheets = notebook.get("worksheets")
    if "cells" in notebook or not isinstance(worksheets, list):
        return notebook.get("cells")
    sheets = (sheet.get("cells") for sheet in worksheets if isinstance(sheet, dict))
    return [cell for cells in sheets if isinstance(cells, list) for cell in cells]


def _number(cells: list[Any]) -> Iterator[Cell]:
    line = 1
    for number, raw in enumerate(cells, start=1):
        code = _code(raw)
        if code is not None:
            text = without_magics(code)
            yield Cell(number, line, text)
            line += text.count("\n")


def _code(raw: Any) -> str | None:
    """The source of a Python cell, each line with its LF."""
    if not isinstance(raw, dict) or raw.get("cell_type") != "code" or not _is_python_cell(raw.get("metadata")):
        return None
    source = raw.get("source", raw.get("input"))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str):
        return None
    return _dedent(normal(source.replace("\r\n", "\n")).rstrip("\n") + "\n")


def _dedent(text: str) -> str:
    """Without the indentation of its first line of code, as IPython does for a pasted block."""
    first = re.match(r"(?:[ \t]*\n)*([ \t]+)\S", text)
    return re.sub(rf"^{first[1]}", "", text, flags=re.MULTILINE) if first else text


def _is_python(metadata: Any) -> bool:
    """Whether the kernel runs Python; a notebook that does not say so most often does."""
    if not isinstance(metadata, dict):
        return True
    entries = ((metadata.get("language_info"), "name"), (metadata.get("kernelspec"), "language"))
    names = [entry.get(key) for entry, key in entries if isinstance(entry, dict)]
    return all("python" in name.lower() for name in names if isinstance(name, str))


def _is_python_cell(metadata: Any) -> bool:
    """VS Code notes the language of a cell that is not the notebook's."""
    vscode = metadata.get("vscode") if isinstance(metadata, dict) else None
    return not isinstance(vscode, dict) or vscode.get("languageId", "python") == "python"
