"""Where the doctor runs: versions, platform and settings, for a bug report."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nndoctor import __version__
from nndoctor.errors import UserError
from nndoctor.layers import read_layers
from nndoctor.report.text import printable

# What the doctor needs, and the libraries of the user's that decide what a scan or a probe sees.
PACKAGES = (
    "typer",
    "rich",
    "libcst",
    "tomli",
    "pathspec",
    "numpy",
    "torch",
    "torchvision",
    "lightning",
    "transformers",
)


def render() -> str:
    """A line for each fact."""
    return "".join(f"{name:<13} {printable(fact)}\n" for name, fact in _facts())


def _facts() -> Iterator[tuple[str, str]]:
    yield "nndoctor", __version__
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    yield "encoding", f"{sys.stdout.encoding if sys.stdout else None}, files {sys.getfilesystemencoding()}"
    for package in PACKAGES:
        yield package, _version(package)
    yield "settings", _settings()


def _version(package: str) -> str:
    """From the package's metadata, as importing it may take seconds, or be what fails."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _settings() -> str:
    try:
        layers = read_layers(Path())
    except UserError as error:
        return str(error)
    return ", before ".join(layer.name for layer in reversed(layers)) or "no file has any"
