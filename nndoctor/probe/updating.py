"""A few training steps with the user's optimizer, and what became of every parameter in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim import Optimizer

from nndoctor.probe.batch import Batch, tensors
from nndoctor.probe.blame import source_line
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.operations import Place
from nndoctor.probe.recording import Operation, record
from nndoctor.probe.subject import Subject
from nndoctor.probe.sweep import user_optimizer


@dataclass(frozen=True, slots=True)
class Calls:
    """The modules whose forward ran, by name, and those that ran with gradients enabled."""

    seen: set[str] = field(default_factory=set)
    with_graph: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a few steps left behind; sets hold names of parameters."""

    parameters: Mapping[str, nn.Parameter]
    starts: Mapping[str, Tensor]
    owned: frozenset[str]  # the optimizer has them
    foreign: int  # parameters that the optimizer has and the model has not
    reached: set[str] = field(default_factory=set)  # they had a gradient
    pulled: set[str] = field(default_factory=set)  # ... which was not zero everywhere
    broken: set[str] = field(default_factory=set)  # ... and NaN or infinite, which ends the training
    first_updates: dict[str, float] = field(default_factory=dict)  # of matrices, by the norm of the weights
    hidden: list[nn.Parameter] = field(default_factory=list)  # the loss depends on them, the model has them not
    losses: list[Tensor] = field(default_factory=list)
    in_training: Calls = field(default_factory=Calls)
    in_eval: Calls = field(default_factory=Calls)

    @property
    def has_graph(self) -> bool:
        """Whether there was something to back-propagate."""
        return bool(self.trainable) and all(loss.requires_grad for loss in self.losses)

    @property
    def trainable(self) -> list[str]:
        """What is not frozen, in the model's order."""
        return [name for name, parameter in self.parameters.items() if parameter.requires_grad]

    def named(self, names: Collection[str]) -> list[Tensor]:
        """The parameters of these names."""
        return [self.parameters[name] for name in names]


def train_briefly(subject: Subject, steps: int) -> Training:
    """Train in train mode on the first batches, until a gradient is not finite; keep it in a sandbox."""
    subject.model.train()
    parameters = dict(subject.model.named_parameters())
    optimizer = user_optimizer(subject) if any(each.requires_grad for each in parameters.values()) else None
    has = {id(each) for group in (optimizer.param_groups if optimizer else ()) for each in group["params"]}
    training = Training(
        parameters=parameters,
        starts={name: parameter.detach().clone() for name, parameter in parameters.items()},
        owned=frozenset(name for name, parameter in parameters.items() if id(parameter) in has),
        foreign=len(has - {id(parameter) for parameter in parameters.values()}),
    )
    with watch_calls(subject.model, training.in_training):
        for batch in subject.batches.cycle(steps):
            loss, _ = subject.compute_loss(subject.model, batch)
            training.losses.append(loss.detach().requires_grad_(loss.requires_grad))
            if not training.has_graph or optimizer is None:
                break
            if len(training.losses) == 1:
                training.hidden.extend(_hidden_leaves(subject, loss, has))
            _step(subject.model, loss, optimizer, training)
            if training.broken:
                break
    _run_in_eval_mode(subject, training.in_eval)
    return training


def _step(model: nn.Module, loss: Tensor, optimizer: Optimizer, training: Training) -> None:
    model.zero_grad(set_to_none=True)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in training.parameters.items():
        if parameter.grad is not None:
            _note(training, name, parameter.grad)
    if training.broken:
        return
    try:
        optimizer.step()
    except TypeError as error:  # LBFGS and its like evaluate the loss themselves
        raise NotApplicableError("the optimizer needs a closure, which this probe does not give") from error
    if len(training.losses) == 1:
        training.first_updates.update(_updates(training))


def _note(training: Training, name: str, gradient: Tensor) -> None:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    training.reached.add(name)
    if bool(values.any()):
        training.pulled.add(name)
    if not bool(values.isfinite().all()):
        training.broken.add(name)


def _updates(training: Training) -> Iterator[tuple[str, float]]:
    """Norm of the update by the norm of the weights, for matrices that did not start at zero."""
    for name in training.pulled & training.owned:
        start = training.starts[name].float()
        size = float(start.norm())
        if start.ndim > 1 and size:
            yield name, float((training.parameters[name].detach().float() - start).norm()) / size


def _run_in_eval_mode(subject: Subject, calls: Calls) -> None:
    """So that a layer which only prediction needs is seen to be used."""
    subject.model.eval()
    with watch_calls(subject.model, calls):
        try:
            subject.compute_loss(subject.model, subject.batches.first(1)[0])
        except Exception:  # some models give no loss in eval mode, and no verdict rests on it
            return


@contextmanager
def watch_calls(model: nn.Module, calls: Calls) -> Iterator[None]:
    """Note which modules run."""

    def note(name: str) -> None:
        calls.seen.add(name)
        if torch.is_grad_enabled():
            calls.with_graph.add(name)

    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: note(name)) for name, module in model.named_modules()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ------------------------------------------------------------------------------------------------- the graph


def _hidden_leaves(subject: Subject, loss: Tensor, known: set[int]) -> Iterator[nn.Parameter]:
    """Parameters in the graph of the loss that neither the model, the loss nor the optimizer (`known`) has."""
    holder = subject.objective and subject.objective.holder
    known = known | {id(parameter) for parameter in subject.model.parameters()}
    if isinstance(holder, nn.Module):
        known |= {id(parameter) for parameter in holder.parameters()}
    waiting: list[Node | None] = [loss.grad_fn]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, nn.Parameter) and id(leaf) not in known:
            yield leaf
        waiting.extend(following for following, _ in node.next_functions)


def without_outputs(subject: Subject, training: Training, names: Collection[str]) -> list[str]:
    """Those of the parameters that have no path to any output either; the others the loss merely does not read."""
    subject.model.train()
    _, returned = subject.compute_loss(subject.model, subject.batches.first(1)[0])
    outputs = [tensor for tensor in tensors(returned) if tensor.requires_grad]
    if not outputs or not names:
        return list(names)
    total = torch.stack([output.abs().sum().float() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, training.named(names), allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]


@dataclass(frozen=True, slots=True)
class Cut:
    """The operation behind which there are no gradients, and the modules whose results it reads."""

    name: str
    place: Place


def find_cut(subject: Subject, batch: Batch, modules: Collection[str]) -> Cut | None:
    """The first operation that drops the graph of what these modules (or all, if none are named) computed."""
    subject.model.train()
    recording = record(lambda: tensors([*subject.compute_loss(subject.model, batch)]), subject.model)
    operations = recording.operations
    fed = _fed_by(operations, modules)
    cuts = [operation for operation in operations if operation.index in fed and _drops_graph(operation, operations)]
    for operation in cuts:
        if operation.location:
            line = source_line(operation.location.path, operation.location.line)
            return Cut(operation.name, (operation.location, line))
    return None


def _fed_by(operations: Collection[Operation], modules: Collection[str]) -> set[int]:
    """The operations of the modules, and those that read what came of them."""
    fed: set[int] = set()
    for operation in operations:
        inside = any(f"{operation.module}.".startswith(f"{module}.") for module in modules)
        if inside or not modules or fed & set(operation.inputs):
            fed.add(operation.index)
    return fed


def _drops_graph(operation: Operation, operations: Collection[Operation]) -> bool:
    """Whether it reads results that have a graph and returns floating-point numbers that have none."""
    made = list(operations)
    reads = any(output.requires_grad for index in operation.inputs for output in made[index].outputs)
    floats = [output for output in operation.outputs if output.dtype.is_floating_point]
    return reads and bool(floats) and not any(output.requires_grad for output in floats)
