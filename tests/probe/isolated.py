"""Small models made of one function, and what gradient isolation says about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nndoctor.findings import Finding, ProbeResult
from nndoctor.probe.batches import Batches
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.registry import examine
from nndoctor.probe.subject import Split, Subject


def examined(subject: Subject) -> tuple[ProbeResult, list[Finding]]:
    result, findings = examine("NDP04", subject, EFFORTS["quick"])
    return result, list(findings)


def checked(
    forward: Callable[..., Any], *inputs: Any, part: nn.Module | None = None, **options: Any
) -> tuple[ProbeResult, list[Finding]]:
    """Examine a model that has `part`, and whose forward is a function of an embedded and further inputs."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = part
            self.embed = nn.Linear(inputs[0].shape[-1], 8) if inputs[0].is_floating_point() else nn.Embedding(300, 8)

        def forward(self, x: Tensor, *rest: Any) -> Any:
            return forward(self.embed(x), *rest)

    torch.manual_seed(0)
    return examined(subject_of(Model(), *inputs, **options))


def subject_of(model: nn.Module, *inputs: Any, targets: Any = None, **options: Any) -> Subject:
    batches = Batches(kept=((*inputs, targets),), exhausted=True)
    return Subject(
        model=model,
        batches=batches,
        split=lambda batch: Split(args=tuple(batch[:-1]), kwargs={}, targets=batch[-1]),
        objective=None,
        optimizer=None,
        **options,
    )


def floats(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def tokens(*shape: int, high: int = 300) -> Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(0))
