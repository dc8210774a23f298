"""Subjects made of objects or of source text, by the same way as on the command line."""

from __future__ import annotations

import itertools
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.findings import Finding, ProbeResult
from nndoctor.probe.build import build_subject
from nndoctor.probe.effort import EFFORTS, Effort
from nndoctor.probe.registry import examine
from nndoctor.probe.subject import Subject
from nndoctor.requests import ProbeRequest

QUICK = EFFORTS["quick"]
ATTRIBUTES = {
    "model": "build_model",
    "data": "loader",
    "loss": "loss",
    "optimizer": "optimizer",
    "step": "step",
    "scheduler": "scheduler",
}
_numbers = itertools.count()


def subject(effort: Effort = QUICK, request: dict[str, Any] | None = None, **attributes: Any) -> Subject:
    """The subject of a module with these attributes: build_model, loader, and perhaps loss, optimizer, step."""
    module = ModuleType(f"made_{next(_numbers)}")
    vars(module).update(attributes)
    sys.modules[module.__name__] = module
    return build_subject(_request(module.__name__, set(attributes), request or {}), effort)


def subject_of_source(directory: Path, source: str, effort: Effort = QUICK, **request: Any) -> Subject:
    """The subject of a file with this text."""
    path = directory / f"made_{next(_numbers)}.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    lines = source.splitlines()
    names = {
        name for name in ATTRIBUTES.values() if any(line.startswith((f"def {name}(", f"{name} =")) for line in lines)
    }
    return build_subject(_request(str(path), names, request), effort)


def _request(target: str, names: set[str], request: dict[str, Any]) -> ProbeRequest:
    entrypoints = {option: f"{target}:{name}" for option, name in ATTRIBUTES.items() if name in names}
    return ProbeRequest(root=Path.cwd(), **entrypoints, **request)


def measured(code: str, made: Subject, effort: Effort = QUICK) -> tuple[ProbeResult, list[Finding]]:
    """What the probe says."""
    result, findings = examine(code, made, effort)
    return result, list(findings)


def mlp(features: int = 16, classes: int = 10, hidden: int = 64) -> nn.Module:
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def points(count: int = 32, features: int = 16) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(0))


def labels(count: int = 32, classes: int = 10) -> Tensor:
    return torch.arange(count) % classes
