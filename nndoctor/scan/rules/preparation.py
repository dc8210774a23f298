"""Preparation of arrays: scalers, vectorisers and statistics that have seen the examples kept for the test."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter.estimators import FITTED, SPLITS
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import pipelines, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import NONE, Const, Site, Term, Tuple, Value, is_none, leaves


@rule("ND609")
def fit_before_split(program: Program) -> Iterator[Draft]:
    stored = list(program.of("fitted column"))
    reported: set[int] = set()
    for site, order, arrays in _splits(program):
        for term in _behind(arrays, stored, order):
            learned = _learned(term)
            fit = learned.site if learned is not None else None
            if fit is None or id(fit.node) in reported:
                continue
            reported.add(id(fit.node))
            yield _fitted(fit, site)


def _fitted(fit: Site, split: Site) -> Draft:
    message = f"`{wording.text(fit)}` learns from the examples that are held out afterwards"
    return Draft(
        "ND609", fit, message, ((split, "split into training and held-out examples here"),), Confidence.CERTAIN
    )


# Splits ---------------------------------------------------------------------------------------------------------------


def _splits(program: Program) -> Iterator[tuple[Site, int, Value]]:
    """Where arrays are split, when, and which."""
    for event in program.of("split"):
        yield event.site, event.order, event.subject
    for event in program.calls("torch.utils.data.random_split"):
        for dataset in leaves(event.details["args"].get(0, "dataset")):
            if pipelines.is_dataset(dataset) and dataset.name == "TensorDataset":
                yield event.site, event.order, dataset.args["tensors"]
    yield from _cut(program)


def _cut(program: Program) -> Iterator[tuple[Site, int, Value]]:
    """Arrays of which the model sees the first part here and the rest there: `x[:n]`, `x[n:]`."""
    heads: dict[tuple[int, object], Term] = {}
    tails: dict[tuple[int, object], Term] = {}
    seen: set[int] = set()
    given = [value for event in program.of("forward") for value in event.details["args"]]
    for term in (term for value in given for term in pipelines.origins(value, seen)):
        part = _slice(term)
        lower, upper = part.inputs[:2] if part is not None else (NONE, NONE)
        if is_none(lower) and not is_none(upper):
            heads[id(term.inputs[0]), _bound(upper)] = term
        elif is_none(upper) and not is_none(lower):
            tails[id(term.inputs[0]), _bound(lower)] = term
    for key, head in heads.items():
        if key in tails and (site := head.site) is not None:
            yield site, len(program.events), head.inputs[0]


def _slice(term: Term) -> Term | None:
    part = term.inputs[1] if term.op == "index" and len(term.inputs) == 2 else None
    return part if type(part) is Term and part.op == "slice" and len(part.inputs) > 1 else None


def _bound(value: Value) -> object:
    return value.value if type(value) is Const else id(value)


# What the arrays were made with ---------------------------------------------------------------------------------------


def _behind(arrays: Value, stored: list[Event], order: int) -> Iterator[Term]:
    """What arrays were computed from, up to an earlier split; columns that were scaled in place are among it."""
    terms = list(pipelines.origins(arrays, stop=SPLITS))
    if any(term.op in SPLITS for term in terms):
        return
    yield from terms
    known = {id(term) for term in terms}
    for event in stored:
        if id(event.subject) in known and event.order < order:
            yield event.details["value"]


def _learned(term: Term) -> Term | None:
    """The operation that learned from an array, if it was the array that it changed: fit_transform, or x - mean(x)."""
    if term.op == FITTED:
        return term if (term.info or {}).get("on") is term.inputs[0] else None
    if term.op != "-" or len(term.inputs) != 2:
        return None
    array, mean = term.inputs
    return term if _is_mean_of(mean, array) else None


def _is_mean_of(value: Value, array: Value) -> bool:
    """Whether a value is the mean or the least value over the examples of an array."""
    if type(value) is not Term or value.op not in ("mean", "min", "amin") or value.inputs[0] is not array:
        return False
    args = (value.info or {}).get("args")
    axis = (args.get(1, "axis") or args.keywords.get("dim")) if args is not None else None
    if type(axis) is Tuple:
        return any(type(item) is Const and item.value == 0 for item in axis.items)
    return type(axis) is Const and axis.value == 0
