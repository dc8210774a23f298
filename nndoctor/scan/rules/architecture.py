"""How layers follow each other: linear ones without a nonlinearity, sigmoids between them, dropout on feature maps."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Lib, Site, Term, Tuple, Value
from nndoctor.thresholds import Threshold

_SCALING = frozenset({"dropout", "contiguous", "to", "cuda", "cpu", "float", "clone"})
_WEIGHTED = frozenset({"linear", "conv"})


def _below(value: Value, through: frozenset[str]) -> Term | None:
    """The operation under those named."""
    while type(value) is Term and value.op in through and value.inputs:
        value = value.inputs[0]
    return value if type(value) is Term else None


def _layer(term: Term | None) -> Lib | None:
    layer = (term.info or {}).get("layer") if term is not None else None
    return layer if type(layer) is Lib else None


# ND411


@rule("ND411")
def no_nonlinearity_between_linears(program: Program) -> Iterator[Draft]:
    linears = [e for e in program.of("apply") if e.details["operation"] == "linear" and e.subject.name != "Bilinear"]
    made = {id(event.details["output"]): event for event in linears}
    pairs = {id(event): pair for event in linears if (pair := _composed(event, made)) is not None}
    if not pairs:
        return
    # A place that is reached on several paths, or several times, must follow a linear layer each time.
    excepted = {_place(event) for event in linears if id(event) not in pairs}
    uses = _uses(program)
    for first, event in pairs.values():
        alone = uses[id(first.details["output"])] < 2 and _place(event) not in excepted
        if alone and not _is_factorised(first.subject, event.subject):
            yield _one_map(first, event)


def _place(event: Event) -> tuple[int, int]:
    return id(event.site.node), id(event.frames[-1])


def _composed(event: Event, made: dict[int, Event]) -> tuple[Event, Event] | None:
    """The application of another linear layer, in the same function, that feeds this one."""
    options = event.tensors(event.details["input"])
    source = _below(options[0], _SCALING) if len(options) == 1 else None
    first = made.get(id(source)) if source is not None else None
    if first is None or first.subject is event.subject or first.frames[-1] is not event.frames[-1]:
        return None
    return first, event


def _uses(program: Program) -> Counter[int]:
    """How often each tensor enters an operation or is part of what a model returns, by its id."""
    uses: Counter[int] = Counter()
    seen: set[int] = set()
    for event in program.of("output", "forward", "loss", "backward"):
        result = event.details.get("result")
        uses.update(id(item) for item in (result.items if type(result) is Tuple else ()))
        for value in (result, event.subject):
            for term in graph.ancestors(value, through_cuts=True, seen=seen):
                uses.update({id(source) for source in term.inputs})
    return uses


_FACTORISED = re.compile("rank|lora|bottleneck|factor|svd|down|squeeze|reduc|compress|code|latent|emb", re.IGNORECASE)


def _is_factorised(first: Lib, second: Lib) -> bool:
    """Whether two layers are meant as one matrix of lower rank, or share their weights with another."""
    if "weight" in first.attrs or "weight" in second.attrs or any(map(_is_named_so, (first, second))):
        return True
    width, inputs, outputs = _sizes(first, second)
    if inputs is not None and (inputs is outputs or _number(inputs) == _number(outputs) is not None):
        return not _is_wide(first, second)
    sizes = [_number(value) for value in (width, inputs, outputs)]
    return None not in sizes and not _is_wide(first, second)


def _sizes(first: Lib, second: Lib) -> tuple[Value, Value, Value]:
    """The width between two layers, and what goes in and comes out."""
    return first.args.get("out_features"), first.args.get("in_features"), second.args.get("out_features")


def _number(value: Value) -> int | None:
    return value.value if type(value) is Const and isinstance(value.value, int) else None


def _is_wide(first: Lib, second: Lib) -> bool:
    """Whether what lies between two layers is no bottleneck: its size says so, or it is called a hidden layer."""
    width, *ends = _sizes(first, second)
    number = _number(width)
    if number is None:
        return "hid" in kinds.name_of(width).lower()
    return any((end := _number(value)) is not None and number >= end for value in ends)


def _is_named_so(layer: Lib) -> bool:
    """Whether the line that makes a layer speaks of a factorisation or a code."""
    location = layer.source.location(layer.node)
    return bool(_FACTORISED.search(layer.source.line_text(location)))


def _one_map(first: Event, event: Event) -> Draft:
    message = "two linear layers with no nonlinearity between them are one linear map"
    evidence = ((first.site, "the first is applied here"), *_made(first.subject), *_made(event.subject))
    confidence = Confidence.LIKELY if _is_wide(first.subject, event.subject) else Confidence.POSSIBLE
    return Draft("ND411", event.site, message, evidence, confidence)


def _made(layer: Lib) -> tuple[tuple[Site, str], ...]:
    return ((layer.site, f"{layer.name} made here"),)


# ND404


_ON_MAPS = torch_api.ACTIVATION_OPS | {"batchnorm", "norm", "pool", "adaptive_pool"}


@rule("ND404")
def dropout_on_feature_maps(program: Program) -> Iterator[Draft]:
    for event in program.of("apply"):
        if event.details["operation"] == "dropout" and event.subject.name == "Dropout" and not _is_zero(event.subject):
            yield from _on_maps(event, event.details["input"])
    for event in program.calls("torch.nn.functional.dropout"):
        tensor = event.details["args"].get(0, "input")
        if tensor is not None:
            yield from _on_maps(event, tensor)


def _is_zero(layer: Lib) -> bool:
    rate = layer.args.get("p")
    return type(rate) is Const and rate.value == 0


def _on_maps(event: Event, tensor: Value) -> Iterator[Draft]:
    sources = [_below(option, _ON_MAPS) for option in event.tensors(tensor)]
    layers = [_layer(source) for source in sources]
    if layers and all(layer is not None and layer.name.endswith("2d") for layer in layers):
        source = sources[0]
        assert source is not None
        message = "dropout of single pixels: their neighbours in the feature map still tell the same"
        evidence = tuple((site, "the map comes from this convolution") for site, _ in wording.made_at(source))
        yield Draft("ND404", event.site, message, evidence, Confidence.LIKELY)


# ND414


LEAST_SIGMOIDS = Threshold(
    "ND414",
    "sigmoids",
    2,
    "Two sigmoids, one after the other, shrink the gradient by 16 and more; a single one is a usual code or gate.",
)
_UNDER_LAYER = frozenset({"dropout", "pool", "adaptive_pool", "flatten", "view", "reshape"})


@rule("ND414")
def saturating_hidden_activation(program: Program) -> Iterator[Draft]:
    hidden: dict[object, dict[int, Term]] = defaultdict(dict)
    for event in program.of("apply"):
        if event.details["operation"] not in _WEIGHTED:
            continue
        source = _below(event.details["input"], _UNDER_LAYER)
        if source is not None and _is_sigmoid(source):
            before = _below(source.inputs[0], _UNDER_LAYER | {"batchnorm"})
            if before is not None and before.op in _WEIGHTED:
                hidden[id(event.frames[-1])][id(source)] = source
    for sigmoids in hidden.values():
        if len(sigmoids) >= LEAST_SIGMOIDS.value:
            yield from map(_saturating, sigmoids.values())


def _is_sigmoid(term: Term) -> bool:
    return term.op == "sigmoid" and term.node is not None


def _saturating(sigmoid: Term) -> Draft:
    site = sigmoid.site
    assert site is not None
    message = "a sigmoid between hidden layers passes on a quarter of the gradient at most"
    return Draft("ND414", site, message, confidence=Confidence.LIKELY)
