"""What an epoch goes through: datasets without a loader, the same shuffle each time, evaluations that end early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.batches import is_loader, measured, source_of
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Function, Instance, Lib, Site, Term, Value, is_false, leaves


def _place_of(loop: Loop) -> Site:
    """What a `for` runs over."""
    node, frame = loop.node, loop.frame
    source: Any = getattr(frame, "source", None)
    return Site(source, getattr(node, "iter", node))


@rule("ND611")
def sampler_without_set_epoch(program: Program) -> Iterator[Draft]:
    told = [leaf for event in program.methods("set_epoch") for leaf in event.options(event.subject)]
    if any(type(leaf) is not Lib for leaf in told):
        return  # of an unknown sampler, perhaps this one
    made = {id(event.details["result"]): event for event in program.calls(_DISTRIBUTED)}
    for event in program.of("backward"):
        for depth, loop in enumerate(event.loops):
            for sampler in _distributed(source_of(loop.iterable)):
                maker = made.get(id(sampler))
                outer = [o for o in event.loops[:depth] if maker is not None and o not in maker.loops]
                if outer and not any(leaf is sampler for leaf in told):
                    yield _same_order(sampler, loop)


_DISTRIBUTED = "torch.utils.data.DistributedSampler"


def _distributed(loader: Value) -> Iterator[Lib]:
    """The samplers of a loader that shuffle by the number of the epoch."""
    arguments = loader.args if is_loader(loader) else {}
    given = [arguments[name] for name in ("sampler", "batch_sampler") if name in arguments]
    for sampler in map(_inner, (leaf for value in given for leaf in leaves(value))):
        if type(sampler) is Lib and sampler.api == _DISTRIBUTED and "$open" not in sampler.attrs:
            shuffle = sampler.args.get("shuffle")
            if shuffle is None or (type(shuffle) is Const and shuffle.value):
                yield sampler


def _inner(sampler: Value) -> Value:
    """The sampler that a BatchSampler groups."""
    batched = type(sampler) is Lib and sampler.name == "BatchSampler"
    return sampler.args.get("sampler") if batched else sampler


def _same_order(sampler: Lib, loop: Loop) -> Draft:
    site = sampler.site
    evidence = ((_place_of(loop), "each epoch runs over it in the same order"),)
    message = f"`{wording.text(site)}` shuffles by the epoch's number, which `set_epoch` never tells it"
    return Draft("ND611", site, message, evidence)


@rule("ND616")
def dataset_iterated_without_loader(program: Program) -> Iterator[Draft]:
    stepped = {event.loops[-1] for event in program.of("step") if event.loops and not _is_conditional(event)}
    for event in program.of("backward"):
        loop = event.loops[-1] if event.loops else None
        if loop not in stepped or loop is None or loop.unrolled:
            continue
        trust = _yields_examples(program, source_of(loop.iterable), loop)
        if trust is not None:
            site = _place_of(loop)
            message = f"`{wording.text(site)}` gives one example at a time, in the same order in every epoch"
            yield Draft("ND616", site, message, ((event.site, "each example is trained on alone"),), trust)


def _is_conditional(event: Event) -> bool:
    """Whether a condition inside the loop decides about it, as in gradient accumulation."""
    counters = (t for guard in event.assumed for t in graph.ancestors(guard, through_cuts=True))
    return any(term.op == "counter" for term in counters)


def _yields_examples(program: Program, dataset: Value, loop: Loop) -> Confidence | None:
    """How sure it is that iterating gives single examples."""
    if type(dataset) is Lib and dataset.kind == "dataset":
        return Confidence.CERTAIN if dataset.api.startswith("torchvision.") else Confidence.LIKELY
    if type(dataset) is not Instance or type(dataset.cls.find("__iter__")) is Function:
        return None
    if type(dataset.cls.find("__getitem__")) is not Function or not any(
        root.endswith("torch.utils.data.Dataset") for root in dataset.cls.roots
    ):
        return None
    forwards = [event for event in program.of("forward") if loop in event.loops]
    inputs = [value for event in forwards for value in event.details["args"]]
    single = any(term.op == "unsqueeze" for value in inputs for term in graph.ancestors(value, through_cuts=True))
    return Confidence.LIKELY if single else Confidence.POSSIBLE


@rule("ND613")
def partial_evaluation(program: Program) -> Iterator[Draft]:
    trained = {id(source_of(loop.iterable)) for event in program.of("backward") for loop in event.loops}
    for event in program.of("accumulate"):
        loop = event.loops[-1] if event.loops else None
        if loop is None or loop.unrolled or loop.iterable is None or not is_false(event.grad):
            continue
        loader = source_of(loop.iterable)
        if all(measured(leaf) is None for leaf in event.options(event.subject)) or id(loader) in trained:
            continue
        if loop.left in ("break", "return") and _may_be_loader(loader):
            yield _one_batch(event, loop)
        elif type(loader) is Lib and is_loader(loader) and _drops_last(loader):
            yield _dropped(event, loader)


def _may_be_loader(source: Value) -> bool:
    return is_loader(source) or (type(source) is Term and source.op != "range")


def _drops_last(loader: Lib) -> bool:
    drop, size = loader.args.get("drop_last"), loader.args.get("batch_size")
    one = size is None or (type(size) is Const and size.value == 1)
    return type(drop) is Const and bool(drop.value) and not one


def _dropped(event: Event, loader: Lib) -> Draft:
    site = loader.site
    message = "the loader of an evaluation drops its last batch: these examples are never counted"
    return Draft("ND613", site, message, ((event.site, "what the other batches give is added here"),))


def _one_batch(event: Event, loop: Loop) -> Draft:
    way = "a `return` inside of it" if loop.left == "return" else "a `break` that no condition guards"
    site = _place_of(loop)
    message = f"the evaluation over `{wording.text(site)}` ends after its first batch, by {way}"
    advice = (
        "Move the `return` out of the loop: one level of indentation to the left." if loop.left == "return" else None
    )
    return Draft("ND613", site, message, ((event.site, "only one batch is added here"),), treatment=advice)
