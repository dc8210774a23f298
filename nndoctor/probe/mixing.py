"""Mixing: says what the operation that mixes examples did, and what to write instead where that is clear."""

from __future__ import annotations

import ast
import itertools
import linecache
import math
import re

from nndoctor.findings import Location
from nndoctor.probe.ownership import RESHAPES, State, Step

RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
ATTENTION = frozenset({"multi_head_attention_forward", "_native_multi_head_attention"})
NORMALISING = frozenset({"softmax", "log_softmax", "softmin", "gumbel_softmax", "normalize", "cumsum", "cumprod"})
REDUCING = frozenset({"mean", "sum", "prod", "var", "std", "var_mean", "std_mean", "norm", "vector_norm", "median"})
REDUCING |= {"max", "min", "amax", "amin", "logsumexp", "nanmean", "nansum"}
ROWS = frozenset({"__getitem__", "index_select", "flip", "roll", "gather", "take", "take_along_dim", "sort", "argsort"})
RANDOM = re.compile(r"rand|dropout|bernoulli|multinomial|^normal_?$|uniform")
BATCH_NORM = frozenset({"batch_norm", "instance_norm"})

# Orders of six dimensions; no reshape by hand has more.
MOST_ORDERS = 720

# The operations by what they did wrong.
CAUSES = (
    (RESHAPES, "batch mixed by view"),
    (RECURRENT | ATTENTION, "batch taken for time"),
    (NORMALISING, "softmax over the batch"),
    (REDUCING, "statistic of the batch"),
    (ROWS, "rows of other examples"),
    (BATCH_NORM, "batch statistics in eval mode"),
)
# What to write; none for an operation that the catalogue's general advice fits better.
ADVICE = (
    (
        RECURRENT,
        "the layer reads (time, batch, features) and the batch comes first here: construct it with batch_first=True, "
        "or give it x.transpose(0, 1) and transpose its output back",
    ),
    (
        ATTENTION,
        "the layer reads (time, batch, features) and the batch comes first here: construct nn.MultiheadAttention or "
        "nn.Transformer... with batch_first=True, or transpose before and after it",
    ),
    (NORMALISING, "`{name}` runs over the examples: give it the dimension of the classes or positions, e.g. dim=-1"),
    (REDUCING, "`{name}` runs over the examples: give it the dimensions of one example, e.g. dim=-1, keepdim=True"),
    (ROWS, "`{name}` takes rows of other examples: index the dimensions of one example, and keep the batch order"),
    (
        BATCH_NORM,
        "it takes its mean and variance from the batch it is given, also in eval mode: keep running statistics "
        "(track_running_stats=True, training=self.training), or use GroupNorm or LayerNorm",
    ),
)


def describe(step: Step, module: str) -> str:
    """What the operation did, with its shapes; `module` is the class whose forward it is in."""
    operation = step.operation
    where = f" in {operation.module} ({module})" if operation.module else f" in {module}"
    read = next(iter(operation.input_shapes), ())
    made = operation.outputs[0].shape
    shapes = f"{read} to {made}" if read else f"result {made}"
    if step.state is State.MIXED:
        return f"`{operation.name}`{where}, {shapes}: here examples meet for the first time"
    return f"`{operation.name}`{where}, {shapes}: here the elements of an example leave their row"


def cause(step: Step | None) -> str:
    """What the operation did, in a few words for machines."""
    name = step.operation.name if step else None
    return next((cause for names, cause in CAUSES if name in names), "examples mixed")


def advice(step: Step) -> str | None:
    """What to write instead, None where only the catalogue's general advice applies."""
    operation = step.operation
    if operation.name in RESHAPES:
        return _permute(operation.location, operation.input_shapes[0], operation.outputs[0].shape)
    for names, text in ADVICE:
        if operation.name in names:
            return text.format(name=operation.name)
    return None


def _permute(location: Location | None, read: tuple[int, ...], made: tuple[int, ...]) -> str | None:
    """The permutation that the reshape was written for."""
    order = permutation(read, made)
    if order is None:
        return "a view moves no dimension: bring them into the order of the new shape with permute or transpose first"
    receiver, arguments = _call_at(location) or ("x", ", ".join(map(str, made)))
    moved = f"{receiver}.permute({', '.join(map(str, order))})"
    exact = tuple(read[dim] for dim in order) == made
    return f"a view moves no dimension: write {moved if exact else f'{moved}.reshape({arguments})'}"


def permutation(read: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, ...] | None:
    """The permutation of the dimensions after which merging neighbours gives `made`, None if it is not clear which.

    Of several pure permutations the clear one moves fewer dimensions than all others.
    """
    orders = itertools.islice(itertools.permutations(range(len(read))), MOST_ORDERS)
    fitting = [order for order in orders if _fits(order, read, made)]
    if len(read) == len(made):
        moved = {order: sum(dim != place for place, dim in enumerate(order)) for order in fitting}
        fitting = [order for order in fitting if moved[order] == min(moved.values())]
    return fitting[0] if len(fitting) == 1 else None


def _fits(order: tuple[int, ...], read: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Whether merging neighbours gives `made`; merged dimensions keep their order, as height and width do."""
    rest = list(order)
    for target in made:
        group = [rest.pop(0)] if rest else []
        while rest and math.prod(read[dim] for dim in group) < target:
            group.append(rest.pop(0))
        if math.prod(read[dim] for dim in group) != target or group != sorted(group):
            return False
    return not rest


def _call_at(location: Location | None) -> tuple[str, str] | None:
    """Receiver and arguments of the method call written at a location, None if it is written otherwise."""
    if location is None or location.end_line is None or location.end_column is None:
        return None
    lines = [linecache.getline(location.path, line) for line in range(location.line, location.end_line + 1)]
    lines[-1] = lines[-1][: location.end_column - 1]
    try:
        tree = ast.parse(f"({''.join(lines)[location.column - 1 :]})", mode="eval")
    except SyntaxError:
        return None
    match tree.body:
        case ast.Call(func=ast.Attribute(value=receiver), args=arguments, keywords=[]):
            return ast.unparse(receiver), ", ".join(map(ast.unparse, arguments))
    return None
