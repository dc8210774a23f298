"""How examples are drawn: training batches in a fixed order, and workers that all draw the same random numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.interpreter.data import MADE_IN, OPEN, RANDOM_PART, WORKER
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import batches, pipelines, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Class, Const, Function, Instance, Lib, Term, Value, leaves

# Calls that choose or make up examples; a dataset that uses them decides itself in which order they come.
_DRAWING = (
    *("random.shuffle", "random.sample", "random.choice", "random.choices", "random.randint", "random.randrange"),
    *("numpy.random.shuffle", "numpy.random.permutation", "numpy.random.choice", "numpy.random.randint"),
    *("numpy.random.rand", "numpy.random.randn", "numpy.random.normal", "numpy.random.uniform"),
    *("torch.randperm", "torch.randint", "torch.rand", "torch.randn", "torch.multinomial"),
    *("numpy.random.default_rng", "numpy.random.RandomState"),
)
_MADE_UP = frozenset("rand randn randint randperm normal linspace arange meshgrid zeros ones eye full".split())
_MIXED = frozenset({"train split", "test split"})  # `train_test_split` shuffles
# Names of datasets whose order means something, that mix their examples themselves, or that make them up.
_ORDERED = re.compile(
    r"""seq|time|series|stock|window|forecast|weather|traffic|lm|language|corpus|token|char|video|frame|traj|trace
    |replay|buffer|rollout|episode|stream|midi|music|shuffl|random|sampl|batch|synth|toy|dummy|fake|curricul""",
    re.IGNORECASE | re.VERBOSE,
)
_MIXING = re.compile(r"shuffl|resampl|on_epoch|set_epoch", re.IGNORECASE)  # names of methods that do so


@rule("ND604")
def training_not_shuffled(program: Program) -> Iterator[Draft]:
    drawing = {cls for event in program.calls(*_DRAWING) for cls in _classes_around(event)}
    for use in pipelines.training_uses(program):
        loader = use.loader
        if pipelines.is_given(loader, "shuffle", "sampler", "batch_sampler") or batches.holds_all(loader):
            continue
        verdicts = [_order_matters(dataset, drawing) for dataset in pipelines.datasets(loader)]
        if not verdicts or None in verdicts:
            continue
        confidence = Confidence.LIKELY if Confidence.LIKELY in verdicts else Confidence.CERTAIN
        if Confidence.POSSIBLE in verdicts or _is_recurrent(use.event):
            confidence = Confidence.POSSIBLE
        site = loader.site
        message = f"`{wording.text(site)}` gives the training batches in the same order in every epoch"
        evidence = ((use.event.site, "its batches are trained on here"),)
        yield Draft("ND604", site, message, evidence, confidence)


def _classes_around(event: Event) -> Iterator[Class]:
    for frame in event.frames:
        if type(frame.receiver) is Instance:
            yield from frame.receiver.cls.mro


def _order_matters(dataset: Value, drawing: set[Class]) -> Confidence | None:
    """How sure it is that the examples of a dataset lie in an order that training should not follow."""
    if pipelines.is_subset(dataset):
        return _order_of_part(dataset, drawing)
    if pipelines.is_of_torchvision(dataset):
        return Confidence.CERTAIN if dataset.name != "FakeData" else None
    if type(dataset) is Instance:
        return _order_of_own(dataset, drawing)
    if not pipelines.is_dataset(dataset) or dataset.name != "TensorDataset":
        return None
    return _order_of_tensors(dataset)


def _order_of_part(subset: Lib, drawing: set[Class]) -> Confidence | None:
    """What was drawn at random is mixed, but then comes in the same order for ever: advice."""
    inner = _order_matters(pipelines.whole(subset), drawing)
    indices = subset.args.get("indices")
    if type(indices) is Term and indices.op == "range":
        return inner
    drawn = type(indices) is Term and indices.op == RANDOM_PART
    return Confidence.POSSIBLE if inner is not None and drawn else None


def _order_of_tensors(dataset: Lib) -> Confidence | None:
    terms = list(pipelines.origins(dataset.args["tensors"]))
    if any(term.op in _MADE_UP | _MIXED for term in terms):
        return None
    return Confidence.LIKELY if any(map(_is_read, terms)) else None


_READING = re.compile(r"(pandas\.read_\w+|pickle\.load|scipy\.io\.loadmat)$")


def _is_read(term: Term) -> bool:
    """Whether a value is what a library read from a file."""
    callee = kinds.callee(term)
    if type(callee) is Api:
        return bool(_READING.match(callee.name))
    return term.op in ("load", "loadtxt", "genfromtxt")  # of torch and numpy


def _order_of_own(dataset: Instance, drawing: set[Class]) -> Confidence | None:
    cls = dataset.cls
    if "?" in cls.roots or not any(root in _MAP_STYLE or root.startswith(_LIBRARY) for root in cls.roots):
        return None
    if cls.find("__iter__") is not None or cls in drawing or any(_ORDERED.search(c.name) for c in cls.mro):
        return None
    if any(_MIXING.search(name) for c in cls.mro for name in c.attrs):
        return None
    return Confidence.LIKELY if any("__getitem__" in c.attrs for c in cls.mro) else None


_MAP_STYLE = frozenset({"torch.utils.data.Dataset"})
_LIBRARY = "torchvision.datasets."


def _is_recurrent(event: Event) -> bool:
    """Whether the model that is trained keeps a state from step to step, so that its batches may follow each other."""
    models = [term.inputs[1] for term in pipelines.origins(event.subject) if term.op == "forward"]
    parts = (part for model in models for leaf in leaves(model) for part in kinds.descendants(leaf))
    return any(type(part) is Lib and part.attrs.get("$operation") in ("rnn", "rnncell") for part in parts)


# ND606 ----------------------------------------------------------------------------------------------------------------

_SEEDS = ("numpy.random.seed", "random.seed")
_DRAWS = tuple(
    f"{module}.{name}"
    for module, names in {
        "numpy.random": "rand randn randint random random_sample uniform normal choice permutation shuffle beta",
        "random": "random randint uniform choice choices sample shuffle randrange gauss betavariate",
    }.items()
    for name in names.split()
)
_GETTING = frozenset({"__getitem__", "__iter__"})


@rule("ND606")
def same_numbers_in_workers(program: Program) -> Iterator[Draft]:
    if any(program.calls("torch.utils.data.get_worker_info")):
        return
    drawn = [event for event in program.of("drawn") if event.subject.attrs[MADE_IN] not in event.frames]
    trained = {id(use.loader) for use in pipelines.training_uses(program)}
    for loader in pipelines.loaders(program):
        if not _has_workers(loader) or not (id(loader) in trained or pipelines.is_given(loader, "shuffle", "sampler")):
            continue
        data = [pipelines.whole(dataset) for dataset in pipelines.datasets(loader)]
        own = pipelines.attribute(loader, "worker_init_fn")
        if own is None or (type(own) is Const and own.value is None):
            yield from _owned(loader, data, drawn)
        elif type(own) is Function:
            yield from _seeded(program, own, data)


def _has_workers(loader: Lib) -> bool:
    count = pipelines.constant(loader, "num_workers")
    return isinstance(count, int) and count > 0 and OPEN not in loader.attrs


def _draws_in(event: Event, data: list[Value]) -> bool:
    """Whether something happens while one of these datasets gets an example."""
    return any(
        frame.function is not None and frame.function.name in _GETTING and any(frame.receiver is d for d in data)
        for frame in event.frames
    )


def _owned(loader: Lib, data: list[Value], drawn: list[Event]) -> Iterator[Draft]:
    """A generator that the dataset made when it was made: each worker has a copy in the same state."""
    for event in drawn:
        if _draws_in(event, data):
            generator: Lib = event.subject
            message = f"`{wording.text(event.site)}` gives the same numbers in every worker and in every epoch"
            made = (generator.site, "this generator is copied into each worker")
            evidence = (made, (loader.site, "the workers start here, anew in each epoch"))
            yield Draft("ND606", event.site, message, evidence, Confidence.CERTAIN)


def _seeded(program: Program, function: Function, data: list[Value]) -> Iterator[Draft]:
    """A seed that is the same for all workers, or for a worker in all epochs."""
    used = {str(event.details["name"]).rpartition(".")[0] for event in program.calls(*_DRAWS) if _draws_in(event, data)}
    for event in program.calls(*_SEEDS):
        args = event.details["args"]
        frame = event.frames[-1].function
        if frame is None or frame.node is not function.node or not args.all:
            continue
        if str(event.details["name"]).rpartition(".")[0] in used and (who := _sharing(args.all[0])) is not None:
            message = f"`{wording.text(event.site)}` makes {who} draw the same numbers"
            treatment = "Leave it out: torch (1.9 and later) seeds numpy and random in each worker, anew in each epoch."
            yield Draft("ND606", event.site, message, (), Confidence.LIKELY, None, treatment)


def _sharing(seed: Value) -> str | None:
    """Who draws the same numbers from this seed."""
    if type(seed) is Const:
        return "every worker"
    if type(seed) is not Term:
        return None
    parts = seed.inputs if seed.op in ("+", "*") else (seed,)
    known = all(type(part) is Const or (type(part) is Term and part.op == WORKER) for part in parts)
    return "every epoch" if known else None
