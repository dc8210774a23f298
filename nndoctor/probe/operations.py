"""Finds operations with their lines in the user's files: the first that gives NaN, the last before outputs or loss."""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim import Optimizer

from nndoctor.findings import Location
from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.blame import frames_in, location_of, source_line
from nndoctor.probe.outputs import last_node
from nndoctor.probe.subject import Subject

OPERATION = re.compile(r"Function '(?P<name>\w+?)Backward\d*' returned nan")

Place = tuple[Location | None, str | None]
"""Where an operation is written, and the text of that line."""


@dataclass(frozen=True, slots=True)
class BadOperation:
    """What was not finite, and where it is written if that can be told."""

    message: str
    location: Location | None = None
    source_line: str | None = None


def first_bad_operation(subject: Subject, batch: Batch, optimizer: Optimizer, steps: int) -> BadOperation | None:
    """Train for `steps` under autograd's anomaly detection; the caller keeps the subject in a sandbox."""
    for _ in range(steps + 1):
        with warnings.catch_warnings(record=True) as caught, _watch(subject.model) as broken:
            warnings.simplefilter("always")
            try:
                with torch.autograd.detect_anomaly():
                    loss, _ = subject.compute_loss(subject.model, batch)
                    if broken:
                        return BadOperation(f"the first layer with such an output is `{broken[0]}`")
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                return _backward_fault(str(error), "".join(str(warning.message) for warning in caught))
        optimizer.step()
    return None


def _backward_fault(error: str, trace: str) -> BadOperation | None:
    """Read the operation from autograd's error and its line from the warning that goes with it."""
    operation = OPERATION.search(error)
    if operation is None:
        return None
    place, line = _user_line(trace)
    return BadOperation(f"the gradient of {operation['name'].lower()} is NaN", place, line)


def _user_line(trace: str) -> Place:
    """The innermost frame of the user's own code in a formatted stack."""
    frames = frames_in(trace)
    return (location_of(*frames[-1]), source_line(*frames[-1])) if frames else (None, None)


def line_of_outputs(subject: Subject, batch: Batch) -> Place:
    """Where the last operation that gave the main output is written; the caller keeps the subject in a sandbox."""
    _, outputs = with_stacks(subject, batch)
    return place_of(last_node(subject.output_tensor(outputs)))


def line_before_loss(subject: Subject, batch: Batch, name: str) -> Place:
    """Where the operation of that name (autograd's) nearest to the loss is written; in a sandbox, as above."""
    loss, _ = with_stacks(subject, batch)
    nodes = deque([loss.grad_fn])
    seen: set[Node] = set()
    while nodes:
        node = nodes.popleft()
        if node is None or node in seen:
            continue
        if node.name().lower().startswith(name):
            return place_of(node)
        seen.add(node)
        nodes.extend(following for following, _ in node.next_functions)
    return None, None


def with_stacks(subject: Subject, batch: Batch) -> tuple[Tensor, Any]:
    """Loss and outputs; each node of their graph knows the stack of its operation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly(check_nan=False):
            return subject.compute_loss(subject.model, batch)


def place_of(node: Node | None) -> Place:
    """Where the operation of a node is written; needs a graph that was made by `with_stacks`."""
    metadata: Any = node.metadata if node else {}
    _, _, stack = "".join(metadata.get("traceback_", [])).rpartition(f", in {with_stacks.__name__}\n")
    return _user_line(stack)  # whoever called the doctor is not to blame


@contextmanager
def _watch(model: nn.Module) -> Iterator[list[str]]:
    """Names of the modules whose output is not finite, in the order in which they end, inner ones first."""
    broken: list[str] = []

    def look(name: str, outputs: Any) -> None:
        if any(tensor.is_floating_point() and not bool(tensor.isfinite().all()) for tensor in tensors(outputs)):
            broken.append(name)

    hooks = [
        module.register_forward_hook(lambda _, __, outputs, name=name: look(name or type(model).__name__, outputs))
        for name, module in model.named_modules()
    ]
    try:
        yield broken
    finally:
        for hook in hooks:
            hook.remove()
