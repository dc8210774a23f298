"""Metrics averaged over batches: sums divided by the wrong number, and values that each batch overwrites."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.batches import (
    MEAN,
    SUM,
    Measure,
    batch_loop,
    datasets_of,
    holds_all,
    holds_one,
    is_loader,
    measured,
    source_of,
)
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Lib, Site, Term, Value, is_false, leaves

BATCHES, EXAMPLES = "batches", "examples"
_PLAIN = frozenset({"number", "float", "float number", "cpu", "data", "detach", "numpy", "double", "returned"})
Sums = dict[int, Event]  # by the id of the total: how it came about


def _sums(program: Program) -> Sums:
    return {id(leaf): event for event in program.of("accumulate") for leaf in leaves(event.details["result"])}


def _plain(value: Value) -> Value:
    """A number without casts and constant factors."""
    while type(value) is Term:
        if value.op in _PLAIN and value.inputs:
            value = value.inputs[0]
        elif value.op == "*" and any(type(factor) is Const for factor in value.inputs):
            value = value.inputs[type(value.inputs[0]) is Const]
        else:
            break
    return value


def _steps(sums: Sums, total: Value) -> list[Event]:
    """The additions that a total is made of, one for each place in the code."""
    steps: dict[int, Event] = {}
    while id(total) in sums and id(sums[id(total)].site.node) not in steps:
        step = sums[id(total)]
        steps[id(step.site.node)] = step
        total = step.details["before"]
    return list(steps.values())


def _number_of(divisor: Value, loop: Loop) -> str | None:
    """What a divisor counts of the loader that a loop runs over."""
    divisor = _plain(divisor)
    counted = divisor.inputs[0] if type(divisor) is Term and divisor.op == "len" else None
    source = source_of(loop.iterable)
    if counted is None or source is None:
        return None
    if counted is source:
        return BATCHES
    if any(counted is dataset for dataset in datasets_of(source)):
        return EXAMPLES
    named = type(counted) is Term and counted.op == "attribute" and counted.inputs == (source, "dataset")
    return EXAMPLES if named else None


@rule("ND612")
def average_of_averages(program: Program) -> Iterator[Draft]:
    sums = _sums(program)
    for event in program.of("quotient"):
        for total in event.options(_plain(event.subject)):
            steps = _steps(sums, total)
            loop = batch_loop(steps[0]) if steps else None
            if loop is None or _is_inside(event, loop) or not all(_is_whole(step, loop, event) for step in steps):
                continue
            kinds = {_kind(step) for step in steps}
            if len(kinds) == 1:
                yield from _judged(event, steps[0], kinds.pop(), loop)


def _is_inside(event: Event, loop: Loop) -> bool:
    return any(outer.node is loop.node for outer in event.loops)


def _is_whole(step: Event, loop: Loop, quotient: Event) -> bool:
    """Whether a step adds something for each batch of the loop."""
    own = step.loops and step.loops[-1].node is loop.node and loop.left is None
    return bool(own) and all(guard in quotient.assumed for guard in step.assumed)


def _kind(step: Event) -> str | None:
    """What each batch adds: its mean or its sum."""
    measures = [measured(leaf) for leaf in step.options(step.subject)]
    kinds = {None if measure is None or _is_sum_of_losses(measure) else measure.kind for measure in measures}
    return kinds.pop() if len(kinds) == 1 else None


def _is_sum_of_losses(measure: Measure) -> bool:
    """Whether the loss itself is a sum: its mean over batches is what is trained on, and may be meant."""
    options = (measure.origin.info or {}).get("options", {})
    reduction = options.get("reduction")
    return type(reduction) is Const and reduction.value == "sum"


def _judged(quotient: Event, step: Event, kind: str | None, loop: Loop) -> Iterator[Draft]:
    loader, divisor = source_of(loop.iterable), _number_of(quotient.details["divisor"], loop)
    one = holds_one(loader)
    trust = Confidence.LIKELY if one is None else Confidence.CERTAIN
    name, whole = wording.text(_operand(step.site)), wording.text(quotient.site)
    if one or kind is None:
        return
    if kind == MEAN and divisor == EXAMPLES:
        words = f"`{whole}` divides a sum over batches by the number of examples; `{name}` is already a mean"
    elif kind == SUM and divisor == BATCHES:
        words = f"`{whole}` divides a sum over examples by the number of batches"
        trust = trust if is_loader(loader) else Confidence.POSSIBLE  # an unknown iterable may hold single examples
    elif kind == SUM and divisor == EXAMPLES and _draws_a_part(loader):
        words = f"`{whole}` divides by the size of the whole dataset, of which the sampler draws a part"
    elif kind == MEAN and divisor == BATCHES and _is_ragged(step, loader):
        words, trust = f"`{whole}` gives a smaller last batch as much weight as the others", Confidence.POSSIBLE
    else:
        return
    evidence = ((step.site, f"each batch adds its {'mean' if kind == MEAN else 'sum'} here"),)
    yield Draft("ND612", quotient.site, words, evidence, trust, treatment=_advice(kind, divisor))


def _advice(kind: str, divisor: str | None) -> str | None:
    """What to do, where it is not what the catalogue says."""
    if kind == MEAN:
        return None
    if divisor == BATCHES:
        return "Divide by the number of examples: `len(loader.dataset)`, or the sum of the batch sizes."
    return "Divide by `len(loader.sampler)`, or by the sum of the batch sizes."


def _operand(site: Site) -> Site:
    return Site(site.source, getattr(site.node, "value", site.node))


def _draws_a_part(loader: Value) -> bool:
    sampler = loader.args.get("sampler") if is_loader(loader) else None
    return type(sampler) is Lib and sampler.name == "SubsetRandomSampler"


def _is_ragged(step: Event, loader: Value) -> bool:
    """Whether this is an evaluation whose last batch may be smaller."""
    if not is_false(step.grad):
        return False
    drop = loader.args.get("drop_last") if is_loader(loader) else None
    return not (type(drop) is Const and drop.value)


# ND615


@rule("ND615")
def overwritten_metric(program: Program) -> Iterator[Draft]:
    sums = _sums(program)
    made = {id(event.details["result"]): event for event in program.of("loss", "comparison")}
    made |= {id(event.details["result"]): event for event in program.methods("eq")}
    for event in program.of("quotient", "scheduler step"):
        metric = _metric(event)
        origins = [_origin(made, leaf) for leaf in event.options(metric)] if metric is not None else []
        origin = origins[0] if origins else None
        loop = batch_loop(origin) if origin is not None else None
        if origin is None or loop is None or None in origins or _is_inside(event, loop) or loop.left is not None:
            continue
        if holds_all(source_of(loop.iterable)):
            continue
        if event.kind == "scheduler step" or _counts(event, loop, sums):
            yield _overwritten(event, origin)


def _metric(event: Event) -> Value | None:
    """What a quotient divides, or a scheduler is told."""
    if event.kind == "quotient":
        return _plain(event.subject)
    plateau = type(event.subject) is Lib and event.subject.name == "ReduceLROnPlateau"
    return event.details["args"].get(0, "metrics") if plateau else None


def _origin(made: dict[int, Event], value: Value) -> Event | None:
    measure = measured(value)
    return made.get(id(measure.origin)) if measure is not None else None


def _counts(event: Event, loop: Loop, sums: Sums) -> bool:
    """Whether the divisor counts the batches or examples of the whole loop."""
    steps = _steps(sums, _plain(event.details["divisor"]))
    summed = bool(steps) and all(step.loops and step.loops[-1].node is loop.node for step in steps)
    return summed or _number_of(event.details["divisor"], loop) is not None


def _overwritten(event: Event, origin: Event) -> Draft:
    evidence = ((origin.site, "each batch computes it anew"),)
    message = f"`{wording.text(event.site)}` takes the value of the last batch only; nothing adds the others to it"
    return Draft("ND615", event.site, message, evidence)
