"""Paths, as far as scripts compute them to extend `sys.path`."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import NONE, Const, Term, Value

_FOLDED: dict[str, Callable[..., str]] = {
    "os.path.dirname": os.path.dirname,
    "os.path.join": os.path.join,
    "os.path.normpath": os.path.normpath,
    "os.path.abspath": os.path.normpath,
    "os.path.realpath": os.path.normpath,
    "os.fspath": str,
}


def call(run: Machine, name: str, args: Any, node: Any) -> Value:
    """A function of os, sys or pathlib."""
    texts = [text_of(run.resolve(value)) for value in args.positional]
    if name in ("sys.path.append", "sys.path.insert"):
        if texts and texts[-1] is not None:
            run.project.add_search_path(run.frame.source.path.parent / texts[-1])
        return NONE
    if texts and None not in texts:
        if name in _FOLDED:
            return run.constant(_FOLDED[name](*texts))
        if name == "pathlib.Path":
            return run.pure("path", run.constant(str(Path(*texts))))  # type: ignore[arg-type]
    if name in ("os.getcwd", "pathlib.Path.cwd"):
        return run.constant(str(run.frame.source.path.parent))
    return run.term("call", (run.api(name), *args.all), node)


def text_of(value: Value) -> str | None:
    """The path that a constant or a `Path` of one stands for."""
    if type(value) is Term and value.op == "path":
        value = value.inputs[0]
    return value.value if type(value) is Const and isinstance(value.value, str) else None


def parent(run: Machine, path: Term) -> Value:
    """`path.parent`."""
    return run.pure("path", run.constant(str(Path(text_of(path) or ".").parent)))


def joined(run: Machine, path: Term, more: Value) -> Value:
    """`path / more`."""
    parts = [text_of(path), text_of(more)]
    if None in parts:
        return run.pure("/", path, more)
    return run.pure("path", run.constant(str(Path(*(part or "" for part in parts)))))


def method(run: Machine, path: Term, name: str) -> Value:
    """A method of a path: `resolve()` and `absolute()` keep what it means here."""
    return path if name in ("resolve", "absolute", "expanduser") else run.pure("attribute", path, name)
