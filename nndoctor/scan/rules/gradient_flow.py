"""Whether gradients can pass from a tensor back to a model, and the operations that stop them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.values import LOSS, Choice, Const, Container, Instance, Lib, Term, Tuple, Value, leaves

# Operations whose derivative is zero or does not exist: what they give is a decision, not a measure.
HARD = frozenset(
    """argmax argmin argsort round floor ceil sign long byte bool multinomial bernoulli nonzero number Equal
    GreaterThan GreaterThanEqual LessThan LessThanEqual eq ne gt lt ge le one_hot generated""".split()
)
# Operations that copy the numbers and leave the graph behind.
SEVERING = frozenset(
    """detach data numpy tolist tensor Tensor FloatTensor DoubleTensor HalfTensor array from_numpy
    asarray""".split()
) | {"float number"}
_CUTS = HARD | SEVERING
# Numbers, and tensors that are made without a graph.
_FREE = frozenset(
    """counter len size dim text range key dtype device slice zeros ones zeros_like ones_like full full_like eye arange
    randint rand randn rand_like randn_like batch""".split()
) | {"full slice"}
_DIFFERENTIABLE = (
    torch_api.TRANSPARENT
    | torch_api.ACTIVATION_OPS
    | torch_api.MODE_OPS
    | frozenset(torch_api.ACTS)
    | frozenset("+ - * / ** @ neg mean sum sqrt abs exp min max amax amin loss scaled where vector_norm part".split())
    | frozenset(("sum of", "not", "and", "or", "&", "|", "minimum", "maximum", "generator", "item", "logsumexp"))
)
# Operations on several tensors; what the others are given besides is a size, an axis, a device.
_OF_SEVERAL = frozenset(
    ("sum of", *"+ - * / ** @ where loss minimum maximum max min and or & | cat stack joined".split())
)
# Names of numbers from the configuration.
_SETTING = re.compile(
    r"^(args?|cfg|config|opts?|hparams|alpha|beta|gamma|lamb?d?a?|eps|device|dtype)$|(weight|coeff?)$", re.IGNORECASE
)
_LOSS_NAME = re.compile(r"criterion|loss|objective", re.IGNORECASE)
MAX_TERMS = 500  # a larger graph is not decided


@dataclass(frozen=True, slots=True)
class Flow:
    """What a walk back from a tensor met: `carries` is None where something unknown may carry gradients."""

    carries: bool | None
    cuts: tuple[Term, ...]  # where the walk ended, the nearest operation of each path

    @property
    def is_severed(self) -> bool:
        """Whether no gradient gets back to the model that the tensor was computed with."""
        return self.carries is False and bool(self.cuts)


def flow(value: Value) -> Flow:
    """How gradients flow back from a tensor; cuts are those behind which there is a model."""
    cuts: list[Term] = []
    carries: bool | None = False
    stack, seen = [value], set()
    while stack and carries is not True:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if len(seen) > MAX_TERMS:
            return Flow(None, ())
        found = _step(current, stack, cuts)
        carries = carries if found is False else found
    return Flow(carries, tuple(cut for cut in cuts if reaches_model(cut)))


def _step(value: Value, stack: list[Value], cuts: list[Term]) -> bool | None:
    """Look at one value, and put what it was computed from on the stack."""
    kind = type(value)
    if kind is Tuple or kind is Container:
        stack.extend(kinds.held(value))
        return False
    if kind is Choice:
        stack.extend(leaves(value))
        return False
    if kind is not Term:
        return None if kind in (Instance, Lib) else False
    if _begins_anew(value):
        return None
    if is_cut(value):
        cuts.append(value)
        return False
    if value.op in _FREE or is_data(value) or _is_setting(value):
        return False
    if value.grad is not None and not (type(value.grad) is Const and value.grad.value):
        return None
    if is_computed_by_model(value):
        return True
    return _descend(value, stack)


def is_cut(term: Term) -> bool:
    """Whether no gradient passes an operation."""
    return term.op in _CUTS or is_generated(term)


def _is_setting(value: Value) -> bool:
    """Whether an unknown value is taken for a number of the configuration: `alpha`, `args.weight`."""
    if type(value) is not Term:
        return False
    if value.op == "attribute" and (type(value.inputs[0]) is not Term or kinds.is_model(value.inputs[0])):
        return False
    if value.op not in ("parameter", "name", "import", "attribute"):
        return False
    return bool(_SETTING.search(kinds.name_of(value))) or (value.op == "attribute" and _is_setting(value.inputs[0]))


def _descend(term: Term, stack: list[Value]) -> bool | None:
    if term.op == "forward":
        if not isinstance(term.inputs[0], Term) or term.inputs[0].op == "call":
            return True
        stack.append(term.inputs[0])
        return False
    # An unknown loss has no weights.
    if _LOSS_NAME.search(kinds.name_of(kinds.callee(term))):
        stack.extend(term.inputs[1:])
        return False
    if term.op not in _DIFFERENTIABLE:
        return None
    stack.extend(term.inputs if term.op in _OF_SEVERAL else term.inputs[:1])
    return False


def is_made_trainable(term: Term) -> bool:
    """`torch.tensor(..., requires_grad=True)`, `x.requires_grad = True`, `x.requires_grad_()`."""
    args: Any = (term.info or {}).get("args")
    flags = [args.keywords.get("requires_grad") if args is not None else None, (term.attrs or {}).get("requires_grad")]
    told = any(flag is not None and not (type(flag) is Const and not flag.value) for flag in flags)
    return told or term.op == "requires_grad_"


def _begins_anew(term: Term) -> bool:
    """Whether a tensor is made a leaf on purpose, as cached features are; a loss or a decision never is."""
    if not is_made_trainable(term) or term.act == LOSS or _holds_decision(term):
        return False
    return not any(_is_loss(source) for source in graph.ancestors(term, through_cuts=True))


def _is_loss(term: Term) -> bool:
    return term.op == "loss" or bool(_LOSS_NAME.search(kinds.name_of(kinds.callee(term))))


def _holds_decision(term: Value) -> bool:
    while type(term) is Term and term.op in torch_api.TRANSPARENT:
        term = term.inputs[0]
    return type(term) is Term and (term.op in HARD or is_generated(term))


def is_computed_by_model(term: Term) -> bool:
    """Whether a layer or a library model computed the term."""
    layer = (term.info or {}).get("layer")
    if type(layer) is Lib:
        return _has_weights(layer)
    return any(type(part) is Lib and _has_weights(part) for part in term.inputs)


_WEIGHTED = frozenset(
    "linear conv batchnorm norm embedding embeddingbag rnn rnncell attention transformer prelu".split()
)


def _has_weights(module: Lib) -> bool:
    return module.kind == "model" or (module.kind == "layer" and module.attrs.get("$operation") in _WEIGHTED)


def is_generated(term: Term) -> bool:
    """Whether the term holds the tokens that `model.generate(...)` chose."""
    callee = kinds.callee(term)
    return type(callee) is Term and callee.op == "attribute" and callee.inputs[-1] == "generate"


_ROWS = frozenset({"part", "item", "element", "attribute", "index", "enumerate", "iter", "data"})
_LOADER_NAME = re.compile(r"(loader|_dl|iter|iterator|batch|batches|dataset|data)$", re.IGNORECASE)


def is_data(term: Term) -> bool:
    """Whether the term is part of what a loader yields."""
    current: Value = term
    steps = []
    while type(current) is Term and current.op in _ROWS:
        steps.append(current.op)
        current = current.inputs[0]
        if _LOADER_NAME.search(kinds.name_of(current)):
            return True
    if type(current) is not Term or not steps:
        return False
    return current.op == "batch" or ("element" in steps and current.op in ("call", "import") and _is_foreign(current))


def _is_foreign(source: Term) -> bool:
    """Whether what is iterated over was made by something unknown, and not by a model."""
    return not reaches_model(source) and not any(kinds.is_model(part) for part in source.inputs)


def reaches_model(value: Value) -> bool:
    """Whether a value was computed with the output of a model, by whatever operations."""
    return any(
        term.op == "forward" or is_computed_by_model(term) or is_generated(term)
        for term in graph.ancestors(value, through_cuts=True)
    )
