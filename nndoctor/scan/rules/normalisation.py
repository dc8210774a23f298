"""Batch norm: what feeds it, who shares it, and the statistics that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead, with_argument
from nndoctor.scan.values import Const, Instance, Lib, Site, State, Term, Value, leaves

_WEIGHTED = frozenset({"conv", "linear"})
_BETWEEN = torch_api.ACTIVATION_OPS | {"dropout", "pool", "adaptive_pool", "flatten", "view", "reshape", "contiguous"}
_CLASSES = tuple(f"torch.nn.BatchNorm{n}d" for n in (1, 2, 3))


def _applied(program: Program) -> Iterator[Event]:
    return (event for event in program.of("apply") if event.details["operation"] == "batchnorm")


def _layer(value: Value) -> Lib | None:
    """The layer whose output a tensor is."""
    layer = (value.info or {}).get("layer") if type(value) is Term else None
    return layer if type(layer) is Lib and layer.attrs.get("$operation") in _WEIGHTED else None


def _is(value: Value, wanted: object) -> bool:
    return type(value) is Const and value.value is wanted


# ND401


@rule("ND401")
def bias_before_batchnorm(program: Program) -> Iterator[Draft]:
    seen: set[int] = set()
    for event in _applied(program):
        layers = [_layer(option) for option in event.tensors(event.details["input"])]
        for layer in layers:
            if layer is None or None in layers or not _has_bias(layer) or id(layer.node) in seen:
                continue
            seen.add(id(layer.node))
            message = f"the bias of this {layer.name} has no effect: the batch norm behind it subtracts the mean"
            evidence = ((event.site, "batch norm here"),)
            site = layer.site
            repair = None if event.assumed else _without_bias(site)  # without the batch norm the bias may be wanted
            yield Draft("ND401", site, message, evidence, Confidence.LIKELY, repair=repair)


def _has_bias(layer: Lib) -> bool:
    bias = layer.args.get("bias")
    return _is(bias, True) if bias is not None else "$open" not in layer.args


def _without_bias(site: Site) -> Repair | None:
    """`bias=False` at the end of the call, or in the place of what is there."""
    node: Any = site.node
    if type(node) is not cst.Call or any(arg.star for arg in node.args):
        return None
    named = [arg for arg in node.args if arg.keyword is not None and arg.keyword.value == "bias"]
    message = "write `bias=False`"
    if named:
        return instead(Site(site.source, named[0].value), "False", message, safe=False)
    code = wording.code(site)
    if "\n" in code or "#" in code:
        return None
    return replace(with_argument(site, "bias=False", safe=False), message=message)


# ND409


@rule("ND409")
def batchnorm_shared(program: Program) -> Iterator[Draft]:
    yield from _shared_by_layers(program)
    yield from _shared_by_streams(program)


def _shared_by_layers(program: Program) -> Iterator[Draft]:
    """One batch norm behind two layers of a module."""
    first: dict[int, tuple[Event, Lib]] = {}
    for event in _applied(program):
        norm, fed = event.subject, _feeding(event)
        if fed is None or not _is_attribute(event) or _is(norm.args.get("track_running_stats"), False):
            continue
        earlier, other = first.setdefault(id(norm), (event, fed))
        if other is not fed and earlier.site.node is not event.site.node:
            name = wording.text(event.site)
            message = f"`{name}` is the batch norm of another layer too, so its running statistics mix the two"
            evidence = ((earlier.site, f"behind another {other.name} here"),)
            yield Draft("ND409", event.site, message, evidence)


def _feeding(event: Event) -> Lib | None:
    """The layer with weights that feeds a batch norm, directly or through activations and pooling."""
    options = event.tensors(event.details["input"])
    value = options[0] if len(options) == 1 else None
    while type(value) is Term and value.op in _BETWEEN and value.inputs:
        value = value.inputs[0]
    return _layer(value)


def _is_attribute(event: Event) -> bool:
    """Whether the module whose code runs holds the layer by name, rather than in a list whose items look alike."""
    holder = event.frames[-1].receiver
    return type(holder) is Instance and any(value is event.subject for value in holder.attrs.values())


def _shared_by_streams(program: Program) -> Iterator[Draft]:
    """A discriminator that gets real and generated batches one after the other."""
    real: dict[int, Event] = {}
    told: set[int] = set()
    for event in program.of("forward"):
        model = event.subject
        if not event.loops or type(model) not in (Instance, Lib) or _is(event.grad, False) or id(model) in told:
            continue
        if not _is_generated(event.details["args"], model):
            real.setdefault(id(model), event)
        elif (other := real.get(id(model))) is not None and other.loops[-1] is event.loops[-1] and _keeps(model):
            told.add(id(model))
            message = f"the batch norms of `{wording.text(event.site)}` see two kinds of batches in turn"
            yield Draft("ND409", event.site, message, ((other.site, "the other kind"),), Confidence.POSSIBLE)


def _is_generated(args: tuple[Value, ...], model: Value) -> bool:
    """Whether an input is the output of another model."""
    terms = (term for value in args for term in graph.ancestors(value, through_cuts=True))
    return any(term.op == "forward" and term.inputs[1] is not model for term in terms)


def _keeps(model: Value) -> bool:
    return any(type(part) is Lib and part.attrs.get("$operation") == "batchnorm" for part in kinds.descendants(model))


# ND410


@rule("ND410")
def batchnorm_statistics_off(program: Program) -> Iterator[Draft]:
    for event in program.calls(*_CLASSES, "torch.nn.SyncBatchNorm"):
        norm = event.details["result"]
        momentum = norm.args.get("momentum") if type(norm) is Lib else None
        if type(momentum) is Const and momentum.value == 0 and not isinstance(momentum.value, bool):
            message = f"{norm.name} with momentum 0 keeps the running mean 0 and variance 1 that it was made with"
            yield Draft("ND410", event.site, message)
        elif type(norm) is Lib and _is(norm.args.get("track_running_stats"), False):
            yield from _without_statistics(program, event, norm)
    yield from _one_by_one(program)


def _without_statistics(program: Program, event: Event, norm: Lib) -> Iterator[Draft]:
    """A finding if a model with that layer is evaluated; advice otherwise, since it may be meant."""
    evaluated = (e for e in program.of("forward") if _mode(e) == "eval" and _holds(e.subject, norm))
    found = next(evaluated, None)
    message = f"{norm.name} without running statistics: in evaluation too, an example's output depends on its batch"
    evidence = ((found.site, "evaluated here"),) if found is not None else ()
    yield Draft("ND410", event.site, message, evidence, Confidence.POSSIBLE if found is None else Confidence.LIKELY)


def _mode(event: Event) -> str | None:
    names = {leaf.name for leaf in leaves(event.details["mode"]) if type(leaf) is State}
    return names.pop() if len(names) == 1 else None


def _holds(model: Value, norm: Lib) -> bool:
    return any(type(part) is Lib and part.node is norm.node for part in kinds.descendants(model))


def _one_by_one(program: Program) -> Iterator[Draft]:
    """A model with batch norm that is trained on batches of one."""
    for event in program.of("forward"):
        if _mode(event) != "train" or _is(event.grad, False):
            continue
        for value in event.details["args"]:
            loader = _loader(value)
            norm = _norm_over(event.details["result"], value) if loader is not None and _is_single(loader) else None
            if norm is not None and loader is not None:
                message = f"`{wording.text(event.site)}` trains batch norm on batches of one example"
                evidence = ((loader.site, "batch_size=1"), *wording.made_at(norm))
                yield Draft("ND410", event.site, message, evidence, Confidence.LIKELY)


def _loader(value: Value) -> Lib | None:
    """The loader of whose batch a tensor is a part, moved or cast at most."""
    while type(value) is Term and value.op in torch_api.CASTS | {"part", "item", "batch"} and value.inputs:
        value = value.inputs[0]
    return value if type(value) is Lib and value.api == "torch.utils.data.DataLoader" else None


def _is_single(loader: Lib) -> bool:
    size = loader.args.get("batch_size")
    if "$open" in loader.args or {"batch_sampler", "collate_fn"} & loader.args.keys():
        return False
    return size is None or (type(size) is Const and size.value == 1 and not isinstance(size.value, bool))


def _norm_over(result: Value, given: Value) -> Term | None:
    """A batch norm in a forward pass that normalises over the dimension which was the batch of its input."""
    shape = given.shape if type(given) is Term else None
    batch = shape.dim(0) if shape is not None else None
    if batch is None:
        return None
    for term in graph.ancestors(result):
        first = term.shape.dim(0) if term.op == "batchnorm" and term.shape is not None else None
        if first is not None and first.equals(batch):
            return term
    return None
