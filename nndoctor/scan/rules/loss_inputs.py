"""Losses that are given what another loss wants: logits, logarithms, dropped values or labels in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence, Severity
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.layers import OPEN
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.losses import fed, showing, shown
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import (
    BOUNDED,
    LOG,
    LOG_SOFTMAX,
    RAW,
    RELU,
    SIGMOID,
    SOFTMAX,
    Const,
    Lib,
    Term,
    Value,
    is_false,
)


@rule("ND102")
def log_softmax_into_cross_entropy(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        found = shown(event, LOG_SOFTMAX) if event.details["expects"] == torch_api.LOGITS else None
        if found is not None:
            consequence = f"the log-softmax of {event.details['name']} leaves that as it is"
            yield fed(event, "ND102", *found, consequence)


@rule("ND104")
def logits_into_bce(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["expects"] != torch_api.PROBABILITIES:
            continue
        found = shown(event, RAW, RELU, BOUNDED, LOG_SOFTMAX, LOG)
        if found is not None and _leaves_unit_interval(found[0]):
            yield fed(event, "ND104", *found, f"{event.details['name']} expects probabilities, between 0 and 1")


# A softplus or ReLU6 is unbounded or passes 1; a hardtanh may be told to stop at 0 and 1.
_OUTSIDE = frozenset({"relu", "relu6", "softplus", "tanh", "softsign", "logsigmoid", "log_softmax"})


def _leaves_unit_interval(term: Term) -> bool:
    """Whether a tensor may lie outside of 0 to 1, as far as its last activation and the bounds put on it say."""
    made = wording.origin(term)
    return (term.act == RAW or made.op in _OUTSIDE) and not any(step.op == "clamp" for step in wording.way(term))


# ND106

_LOGARITHMS = (LOG_SOFTMAX, LOG)
_NOT_LOGARITHMS = (SOFTMAX, SIGMOID, RAW, RELU, BOUNDED)


@rule("ND106")
def kl_div_arguments(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["name"] in ("KLDivLoss", "kl_div"):
            draft = _kl_input(event) or _kl_target(event) or _kl_reduction(event)
            if draft is not None:
                yield draft


def _kl_input(event: Event) -> Draft | None:
    found = shown(event, *_NOT_LOGARITHMS)
    return fed(event, "ND106", *found, "kl_div expects log-probabilities first") if found is not None else None


def _kl_target(event: Event) -> Draft | None:
    options = event.details["options"]
    given = options.get("log_target", Const(False))
    if type(given) is not Const or (OPEN in options and "log_target" not in options):
        return None
    found = showing(event, event.details["target"], *(_NOT_LOGARITHMS if given.value else (*_LOGARITHMS, RAW)))
    if found is None:
        return None
    term, confidence = found
    made = wording.origin(term)
    wanted = "log-probabilities, as `log_target=True` says" if given.value else "probabilities"
    message = f"the target is {wording.describe(made)} ({wording.place(made)}); kl_div expects {wanted} there"
    return Draft("ND106", event.site, message, wording.path(term), confidence)


def _kl_reduction(event: Event) -> Draft | None:
    options = event.details["options"]
    if not event.details["whole"] or OPEN in options or {"size_average", "reduce"} & options.keys():
        return None
    found, reduction = shown(event, *_LOGARITHMS), options.get("reduction", Const("mean"))
    if found is None or type(reduction) is not Const or reduction.value != "mean":
        return None
    told = "is told" if "reduction" in options else "takes by default"
    message = f'{event.details["name"]} {told} reduction="mean": the divergence is divided by the number of classes too'
    treatment = 'Pass `reduction="batchmean"`, or `reduction="none"` and sum over the classes before averaging.'
    return Draft("ND106", event.site, message, (), Confidence.LIKELY, Severity.WARNING, treatment)


# ND108

_REGRESSIONS = frozenset({"MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss"})
_EXPECTATIONS = (torch_api.LOGITS, torch_api.BINARY_LOGITS, torch_api.LOG_PROBABILITIES, torch_api.PROBABILITIES)
_LAST_ACTIVATIONS = frozenset({"softmax", "log_softmax", "sigmoid"})


@rule("ND108")
def dropout_on_output(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        regression = event.details["name"] in _REGRESSIONS
        if not regression and event.details["expects"] not in _EXPECTATIONS:
            continue
        if regression and _is_computed(event.details["target"]):  # of two feature vectors neither is an output
            continue
        options = event.tensors(event.subject)
        dropped = [drop for option in options if (drop := _dropped(option)) is not None]
        if dropped and len(dropped) == len(options):
            yield from (_dropout_draft(event, drop) for drop in dropped)


def _dropped(value: Value) -> Term | None:
    """The dropout behind which only a last activation and changes of shape lie."""
    while type(value) is Term and value.inputs:
        if value.op == "dropout":
            source = value.inputs[0]
            last = type(source) is Term and source.act in (RAW, RELU, SIGMOID, SOFTMAX, LOG_SOFTMAX, BOUNDED)
            return value if last and _is_on(value) else None
        if value.op not in torch_api.TRANSPARENT and value.op not in _LAST_ACTIVATIONS:
            return None
        value = value.inputs[0]
    return None


def _is_on(dropout: Term) -> bool:
    """Whether nothing says that the dropout does nothing."""
    info = dropout.info or {}
    layer, args = info.get("layer"), info.get("args")
    if type(layer) is Lib:
        return not is_false(layer.args.get("p"))
    return args is None or not (is_false(args.get(1, "p")) or is_false(args.get(2, "training")))


def _is_computed(value: Value) -> bool:
    return any(term.op == "forward" or term.act is not None for term in graph.ancestors(value, through_cuts=True))


def _dropout_draft(event: Event, drop: Term) -> Draft:
    made = wording.origin(drop.inputs[0])
    site = drop.site
    assert site is not None
    message = f"dropout is applied to {wording.describe(made)}, which {event.details['name']} is given"
    evidence = (*wording.made_at(made), (wording.argument_site(event.site), "reaches the loss here"))
    return Draft("ND108", site, message, evidence)


# ND118

_SQUARED = frozenset({"MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss"})
_LABELLED = frozenset(
    """MNIST FashionMNIST KMNIST EMNIST QMNIST CIFAR10 CIFAR100 SVHN STL10 ImageFolder ImageNet Caltech256 Food101
    Flowers102 Country211 DTD EuroSAT FGVCAircraft GTSRB StanfordCars USPS""".split()
)
_KEEPS_LABELS = torch_api.CASTS | frozenset({"long", "view", "reshape", "unsqueeze", "squeeze", "flatten", "as_tensor"})


@rule("ND118")
def wrong_loss_for_task(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["name"] not in _SQUARED:
            continue
        dataset = _labels_of(event.details["target"])
        if dataset is not None and _is_output(event.subject):
            yield _distance_to_labels(event, dataset)
            continue
        found = shown(event, SOFTMAX)
        confidence = _is_given(event.details["target"])
        if found is not None and confidence is not None:
            consequence = f"{event.details['name']} on it has next to no gradient where the network is surely wrong"
            yield fed(event, "ND118", found[0], min(confidence, found[1], key=_DOUBT.index), consequence)


_DOUBT = (Confidence.POSSIBLE, Confidence.LIKELY, Confidence.CERTAIN)


def _is_output(value: Value) -> bool:
    return any(term.op == "forward" or term.act == RAW for term in graph.ancestors(value))


def _labels_of(target: Value) -> str | None:
    """The name of the data set whose class indices these are."""
    while type(target) is Term and target.op in _KEEPS_LABELS and target.inputs:
        target = target.inputs[0]
    if type(target) is not Term or target.op not in ("part", "item") or len(target.inputs) != 2:
        return None
    batch, index = target.inputs
    if type(index) is not Const or index.value != 1 or type(batch) is not Term or batch.op != "batch":
        return None
    dataset = batch.inputs[0].args.get("dataset") if type(batch.inputs[0]) is Lib else None
    while type(dataset) is Lib and dataset.name == "Subset":
        dataset = dataset.args.get("dataset")
    if type(dataset) is not Lib or {"target_transform", OPEN} & dataset.args.keys():
        return None
    return dataset.name if dataset.name in _LABELLED else None


def _distance_to_labels(event: Event, dataset: str) -> Draft:
    message = f"{event.details['name']} measures the distance to the class index that {dataset} gives, which is a name"
    return Draft("ND118", event.site, message)


def _is_given(target: Value) -> Confidence | None:
    """Whether a target is a one-hot vector, or comes from the data; None if another model may have computed it."""
    while type(target) is Term and target.op in torch_api.TRANSPARENT and target.inputs:
        target = target.inputs[0]
    if type(target) is not Term:
        return None
    called = kinds.callee(target)
    if target.op == "one_hot" or (type(called) is Term and called.op == "attribute" and "scatter_" in called.inputs):
        return Confidence.CERTAIN
    from_data = target.op == "part" and type(target.inputs[0]) is Term and target.inputs[0].op == "batch"
    return Confidence.LIKELY if from_data else None
