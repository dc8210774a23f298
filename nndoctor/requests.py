"""What the command line asks of the two passes: ScanRequest and ProbeRequest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """One static pass; rule sets hold codes of the catalogue, never prefixes or names."""

    paths: tuple[Path, ...]
    root: Path  # reported paths are relative to it
    select: frozenset[str] | None = None  # none means every rule
    ignore: frozenset[str] = frozenset()
    pedantic: bool = False  # also advice (severity info) and findings whose confidence is possible
    base: Path | None = None  # the patterns of `exclude` and `per_file_ignores` start here; none means `root`
    exclude: tuple[str, ...] = ()  # patterns in the syntax of .gitignore
    force_exclude: bool = False  # excluded files stay out even if they are named one by one
    per_file_ignores: Mapping[str, frozenset[str]] = field(default_factory=dict)  # pattern to codes
    minimum_torch: tuple[int, int] | None = None  # the oldest torch that the code must run with
    thresholds: Mapping[str, float] = field(default_factory=dict)  # those of rules that were moved, by CODE.NAME
    only: frozenset[str] | None = None  # real paths: of the files found, examine these; none means all
    stdin: str | None = None  # source text to examine in place of the file `stdin_filename`
    stdin_filename: str | None = None
    texts: Mapping[Path, str] = field(default_factory=dict)  # what these files read like, whatever the disk says
    cache: Path | None = None  # the folder that remembers what was examined; none means that every file is
    jobs: int = 1  # processes that may examine at the same time


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One dynamic pass; an entrypoint is written `module:attribute` or `path/to/file.py:attribute`."""

    model: str
    data: str
    root: Path  # reported paths are relative to it
    loss: str | None = None
    optimizer: str | None = None
    step: str | None = None
    scheduler: str | None = None
    epochs: int | None = None  # of the run that the user means to do; none: as the script says
    steps_per_epoch: int | None = None  # of the optimizer; none: as many as the loader has batches
    grow: str | None = None  # NAME=SMALL,LARGE: an argument of the model's factory that makes it larger
    inputs: str | None = None  # what part of a batch the model is given
    targets: str | None = None  # what part of a batch the loss is given
    tokenizer: str | None = None  # turns token ids into text for the reader; an entrypoint
    device: str = "cpu"  # or "cuda", "cuda:1", "mps", "auto"
    amp: bool = False
    amp_dtype: str | None = None  # "bf16" or "fp16"; none: what the device is best at
    memory: float | None = None  # gigabytes that a process may use; none: what the machine has free
    seed: int = 0
    effort: str = "normal"  # "quick", "normal" or "full"
    select: frozenset[str] | None = None  # codes; none means every probe
    ignore: frozenset[str] = frozenset()
    thresholds: Mapping[str, float] = field(default_factory=dict)  # those of probes that were moved, by CODE.NAME
    arguments: Mapping[str, str] = field(default_factory=dict)  # for the model's factory: name to text
