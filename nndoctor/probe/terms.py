"""The loss taken apart: which terms it is the sum of, which of them are penalties on weights, what each pulls at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from nndoctor.findings import Location
from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.operations import place_of, with_stacks
from nndoctor.probe.subject import Subject

SUMS = ("AddBackward", "SubBackward", "NegBackward", "StackBackward", "CatBackward", "SumBackward", "MeanBackward")
FACTORS = ("MulBackward", "DivBackward")  # by a number; a product of two values that are trained is a term


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One of the values whose sum the loss is."""

    node: Node
    value: float  # what it adds to the loss
    is_weighted: bool  # the user multiplies it, and not the others, by a number
    is_penalty: bool  # no module had a part in it: it depends on the weights alone
    location: Location | None = None
    source_line: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Breakdown:
    """The loss of one batch, with its graph, and its terms."""

    loss: Tensor
    terms: tuple[Term, ...]

    @property
    def penalties(self) -> tuple[Term, ...]:
        """The terms that depend on the weights alone."""
        return tuple(term for term in self.terms if term.is_penalty)

    @property
    def data(self) -> tuple[Term, ...]:
        """The terms that depend on the batch."""
        return tuple(term for term in self.terms if not term.is_penalty)

    @property
    def data_value(self) -> float:
        """The loss without its penalties."""
        return float(self.loss.detach()) - sum(term.value for term in self.penalties)

    def gradients(self, terms: Collection[Term], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The gradient of the sum of these terms, zeros for what they do not reach; keeps the graph."""
        others = [term for term in self.terms if term not in terms]
        with _silenced(others):
            found = torch.autograd.grad(self.loss, parameters, retain_graph=True, allow_unused=True)
        pairs = zip(found, parameters, strict=True)
        return [torch.zeros_like(parameter) if grad is None else grad.to_dense() for grad, parameter in pairs]

    def backward(self, terms: Collection[Term]) -> None:
        """Back-propagate these terms alone."""
        with _silenced([term for term in self.terms if term not in terms]):
            self.loss.backward()  # type: ignore[no-untyped-call]


def break_down(subject: Subject, batch: Batch, *, places: bool = False) -> Breakdown:
    """Run the model and take its loss apart; with `places` each term knows its line, which is slower."""
    with _Values() as values, _outputs_of_modules(subject.model) as made:
        loss, _ = with_stacks(subject, batch) if places else subject.compute_loss(subject.model, batch)
    if loss.grad_fn is None:
        return Breakdown(loss, ())
    total = float(loss.detach())
    found = _terms(loss.grad_fn, total, values.scalars)
    return Breakdown(
        loss,
        tuple(
            Term(node, value, weighted, not _reaches(node, made), *(place_of(node) if places else (None, None)))
            for node, value, weighted in found
        ),
    )


Found = tuple[Node, float, bool]


def _terms(node: Node, value: float, scalars: dict[Node, Tensor], inside: bool = False) -> list[Found]:
    """Go down through sums and numeric factors, as far as the operands are known scalars.

    A factor around the whole sum weights nothing against the rest; one `inside` of it does.
    """
    below = _summands(node, scalars)
    if below is None:
        return [(node, value, False)]
    operands = [sign * float(scalars[child]) for child, sign in below]
    factor = value / sum(operands) if sum(operands) else 1.0
    weighted = inside and node.name().startswith(FACTORS)
    found = [
        term
        for (child, _), operand in zip(below, operands, strict=True)
        for term in _terms(child, factor * operand, scalars, inside or len(below) > 1)
    ]
    return [(child, part, weighted or earlier) for child, part, earlier in found]


def _summands(node: Node, scalars: dict[Node, Tensor]) -> list[tuple[Node, float]] | None:
    """The operands with their signs, None for what is no sum of scalars."""
    children = [child for child, _ in node.next_functions if child is not None]
    name = node.name()
    if not children or not name.startswith((*SUMS, *FACTORS)) or (name.startswith(FACTORS) and len(children) > 1):
        return None
    if name.startswith(("SumBackward", "MeanBackward")):  # of a list of losses, not of the losses of examples
        return _summands(children[0], scalars) if children[0].name().startswith(("Stack", "Cat")) else None
    if any(child not in scalars for child in children):
        return None
    signs = [
        -1.0 if name.startswith("SubBackward") and child is node.next_functions[1][0] else 1.0 for child in children
    ]
    return list(zip(children, signs, strict=True))


def _reaches(start: Node, wanted: Collection[Node]) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        node = waiting.pop()
        if node in wanted:
            return True
        new = {child for child, _ in node.next_functions if child is not None and child not in seen}
        seen |= new
        waiting += new
    return False


class _Values(TorchFunctionMode):
    """Keeps every scalar that is computed, as it was then: `loss += penalty` changes it later."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars: dict[Node, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim == 0 and result.grad_fn is not None:
            self.scalars[result.grad_fn] = result.detach().clone()
        return result


@contextmanager
def _outputs_of_modules(model: nn.Module) -> Iterator[set[Node]]:
    made: set[Node] = set()

    def note(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        made.update(tensor.grad_fn for tensor in tensors(outputs) if tensor.grad_fn is not None and tensor.ndim)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _silenced(terms: Collection[Term]) -> Iterator[None]:
    """Let no gradient through these terms."""
    hooks = [term.node.register_prehook(_zeros) for term in terms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _zeros(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(gradient if gradient is None else torch.zeros_like(gradient) for gradient in gradients)
