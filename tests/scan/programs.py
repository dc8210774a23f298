"""Small programs for the tests of the static pass: read from cases/, written down, scanned or run."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nndoctor.findings import Report
from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan
from nndoctor.scan.interpreter.run import run_program
from nndoctor.scan.program import Event, Program
from nndoctor.scan.project import Project
from nndoctor.scan.values import Choice, Const, Container, Term, Tuple, Value, leaves

MAIN = "main.py"

# Imports that every small program may use, on one line so that the marks of the lines below stay readable.
# `show` is a loss that no rule minds: what it is called with is the subject of an event.
HEADER = "import torch; from torch import nn, optim; from torch.nn import functional as F; show = nn.MSELoss()\n"

MARK = re.compile(r"# <- (ND\d+(?:[ ,]+ND\d+)*)")

CASES = Path(__file__).parent / "cases"
CASE = re.compile(r"^## (.+)\n", re.MULTILINE)  # its title; what stands above the first says what the file holds
FILE = re.compile(r"^=== (.+)\n", re.MULTILINE)  # one of its further files
SHOWN = re.compile(r"^=> (.+)\n", re.MULTILINE)  # what its calls of `show` are given, in order
ALTERNATIVES = re.compile(r"\{.*?\}(?= \{|$)")


class Case(NamedTuple):
    """A program of a topic: a script and its further files."""

    topic: str
    title: str
    script: str
    files: dict[str, str]
    shown: list[set[object]]


class Mark(NamedTuple):
    """Where a finding is expected, or was reported."""

    path: str
    line: int
    code: str


def read_cases(folder: str) -> list[Case]:
    """The programs of a folder of cases/, which has a file for each topic."""
    return [case for path in sorted((CASES / folder).glob("*.txt")) for case in _cases(path)]


def _cases(path: Path) -> Iterator[Case]:
    parts = CASE.split(path.read_text(encoding="utf-8"))[1:]
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        script, *rest = FILE.split(SHOWN.sub("", text))
        files = zip(rest[::2], rest[1::2], strict=True)
        results = [ast.literal_eval(part) for found in SHOWN.findall(text) for part in ALTERNATIVES.findall(found)]
        yield Case(path.stem, title, script, {name: content.rstrip() + "\n" for name, content in files}, results)


def program_text(script: str) -> str:
    """The script of a test as a program, below the usual imports."""
    return HEADER + textwrap.dedent(script).lstrip("\n")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Put texts into files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def notebook(cells: list[str]) -> str:
    """A notebook of these code cells."""
    raw = [{"cell_type": "code", "metadata": {}, "source": cell, "outputs": []} for cell in cells]
    return json.dumps({"cells": raw, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def marks(files: Mapping[str, str]) -> set[Mark]:
    """What the comments `# <- ND101` promise."""
    return {
        Mark(name, number, code)
        for name, text in files.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := MARK.search(line))
        for code in re.findall(r"ND\d+", match[1])
    }


def reported(report: Report) -> set[Mark]:
    """Where the findings of a report are."""
    places = [(finding.location, finding.code) for finding in report.findings]
    return {Mark(place.path, place.line, code) for place, code in places if place is not None}


def scan_files(folder: Path, files: Mapping[str, str], **options: Any) -> Report:
    """Write the files and scan the folder."""
    write(folder, files)
    return scan(ScanRequest(paths=(folder,), root=folder, **options))


def run(folder: Path, script: str, files: Mapping[str, str] | None = None) -> Program:
    """What the interpretation of one script leaves behind."""
    write(folder, {MAIN: program_text(script), **(files or {})})
    project = Project(folder)
    program = run_program(project, [project.source(folder / MAIN)])
    assert program.errors == []
    return program


def shown(folder: Path, script: str) -> list[set[object]]:
    """For each call of `show(value)` in order, everything that the value could be."""
    events = run(folder, script).of("loss")
    return [{describe(value) for value in event.options(event.subject)} for event in events]


def describe(value: Value) -> object:
    """A constant as itself, a tensor or unknown value by what made it, a sequence item by item."""
    if type(value) is Const:
        return value.value
    if type(value) is Choice:
        return " or ".join(sorted(str(describe(side)) for side in leaves(value)))
    if type(value) is Term:
        return _unknown(value)
    if type(value) is Tuple:
        return tuple(map(describe, value.items))
    if type(value) is Container and type(value.attrs["$items"]) is tuple:
        items = tuple(map(describe, value.attrs["$items"]))
        return items if value.attrs.get("$rest") is None else (*items, "...")
    return getattr(value, "name", type(value).__name__)


def _unknown(term: Term) -> object:
    if term.op == "parameter" and term.info is not None:
        return f"parameter {term.info['name']}"
    return f"name {term.inputs[0]}" if term.op == "name" else term.op


def kinds(program: Program, *wanted: str) -> list[str]:
    """The kinds of the events in order; of `wanted` kinds if any are given."""
    return [event.kind for event in program.events if not wanted or event.kind in wanted]


def only(program: Program, kind: str) -> Event:
    """The one event of a kind."""
    [event] = program.of(kind)
    return event
