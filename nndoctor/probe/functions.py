"""Functions: the user's own autograd functions that a forward meets, and what they were called with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import Node

from nndoctor.findings import Location
from nndoctor.probe.batch import Batch, map_tensors, tensors
from nndoctor.probe.blame import is_user_file, place_of_definition, source_line
from nndoctor.probe.fitting import calm
from nndoctor.probe.subject import Subject

MOST_DECORATORS = 5  # above a backward: staticmethod, once_differentiable, custom_bwd


@dataclass(frozen=True, slots=True, eq=False)
class FunctionCall:
    """The first call of a function: its arguments as they were, and which of its tensors a gradient was asked for."""

    function: type[Function]
    args: tuple[Any, ...]
    differentiable: tuple[bool, ...]  # for each tensor among the arguments

    @property
    def name(self) -> str:
        """As the user's class is called."""
        return self.function.__name__

    @property
    def place(self) -> tuple[Location, str | None] | None:
        """Where its backward is written, below its decorators."""
        found = place_of_definition(self.function.backward, self.function)
        if found is None:
            return None
        first = found[0]
        for line in range(first.line, first.line + MOST_DECORATORS):
            text = source_line(first.path, line)
            if text is not None and text.lstrip().startswith("def "):
                return replace(first, line=line), text
        return found


def find_calls(subject: Subject, batch: Batch) -> list[FunctionCall]:
    """Of every function of the user's in the graph of loss and outputs; the caller keeps the subject in a sandbox."""
    calm(subject.model)
    found = _functions(_run(subject, batch))
    if not found:
        return []
    calls: dict[type[Function], FunctionCall] = {}
    with ExitStack() as stack:
        for function in found:
            stack.enter_context(_listening(function, calls))
        _run(subject, batch)
    return list(calls.values())


def _run(subject: Subject, batch: Batch) -> list[Tensor]:
    """All that has a graph."""
    if subject.objective is None:
        return tensors(subject.forward(subject.model, batch))
    loss, outputs = subject.compute_loss(subject.model, batch)
    return [loss, *tensors(outputs)]


def _functions(roots: list[Tensor]) -> list[type[Function]]:
    """The classes behind the nodes of the graph that are written in the user's files."""
    found: dict[type[Function], None] = {}
    waiting: list[Node | None] = [root.grad_fn for root in roots]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
        function = getattr(node, "_forward_cls", None)
        if isinstance(function, type) and _is_users(function):
            found[function] = None
    return list(found)


def _is_users(function: type) -> bool:
    try:
        return is_user_file(inspect.getsourcefile(function) or "<none>")
    except TypeError:
        return False


@contextmanager
def _listening(function: type[Function], calls: dict[type[Function], FunctionCall]) -> Iterator[None]:
    """Note the first call of the function, also where its `apply` was given another name before."""
    own = function.__dict__.get("forward")
    forward = function.forward
    has_context = function.setup_context is Function.setup_context

    def noting(*given: Any) -> Any:
        args = given[1:] if has_context else given
        if function not in calls:
            asked = tuple(tensor.requires_grad and tensor.is_floating_point() for tensor in tensors(args))
            calls[function] = FunctionCall(function, map_tensors(lambda tensor: tensor.detach().clone(), args), asked)
        return forward(*given)

    function.forward = staticmethod(noting)  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del function.forward
        else:
            function.forward = own  # type: ignore[method-assign]
