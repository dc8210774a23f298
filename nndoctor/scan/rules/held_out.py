"""Held-out data that is not held out: examples that were trained on, or that are augmented like those of training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import pipelines, wording
from nndoctor.scan.rules.pipelines import Use
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Instance, Lib, Site, Value

_HELD_OUT = re.compile(
    r"(?<![a-z])(test|val|valid|validation|eval|evaluate|evaluation|dev|holdout)(?![a-z])"
    r"|test_?(ing|loader|set|data)|val_?(loader|set|data)",
    re.IGNORECASE,
)
_TRAINING = re.compile(r"train|fit|calib|bn_|batch_?norm|swa|overfit|sanity", re.IGNORECASE)
_DELIBERATE = re.compile(r"(^|_)tta|augment|attack|robust|few_?shot|knn|mc_?dropout|consisten", re.IGNORECASE)


# Trained on and evaluated ---------------------------------------------------------------------------------------------


@rule("ND605")
def evaluated_on_training_data(program: Program) -> Iterator[Draft]:
    trained = pipelines.training_uses(program)
    by_loop: dict[int, list[Use]] = {}
    for use in pipelines.evaluation_uses(program) if trained else ():
        by_loop.setdefault(id(use.loop.node), []).append(use)
    for uses in by_loop.values():
        nearby = [use for use in trained if pipelines.in_one_script(use, uses[0])]
        matches = [_trained_on(use.loader, nearby) for use in uses]
        if None not in matches and _means_held_out(program, uses[0], nearby):
            yield _evaluated(uses[0], matches[0])  # type: ignore[arg-type]


def _trained_on(loader: Lib, trained: list[Use]) -> Use | None:
    """Where the examples of a loader are trained on, all of them."""
    for use in trained:
        if use.loader is loader or _same_examples(use.loader, loader):
            return use
    return None


def _same_examples(one: Lib, other: Lib) -> bool:
    if any(pipelines.is_given(loader, "sampler", "batch_sampler") for loader in (one, other)):
        return False
    data = [pipelines.datasets(loader) for loader in (one, other)]
    return all(len(found) == 1 for found in data) and _identity(data[0][0]) == _identity(data[1][0])


def _identity(dataset: Value) -> object:
    """What two datasets of the same examples have in common."""
    if not pipelines.is_of_torchvision(dataset) or pipelines.split_of(dataset) is None:
        return _tensors(dataset) if pipelines.is_dataset(dataset) and dataset.name == "TensorDataset" else id(dataset)
    root = dataset.args.get("root")
    where = root.value if type(root) is Const else id(root)
    return (dataset.api, where, pipelines.split_of(dataset))


def _tensors(dataset: Lib) -> tuple[int, ...]:
    return tuple(map(id, dataset.args["tensors"].items))


def _means_held_out(program: Program, use: Use, trained: list[Use]) -> bool:
    """Whether the names say that the examples are held out, or held-out ones lie there unused."""
    text, function = _iterated(use), _function(use.event)
    if _DELIBERATE.search(function):
        return False
    if _HELD_OUT.search(text) and not _TRAINING.search(text):
        return True
    return bool(_HELD_OUT.search(function)) and not _TRAINING.search(function) and _is_any_idle(program, trained)


def _iterated(use: Use) -> str:
    """The text of what the loop runs over."""
    node: Any = use.loop.node
    return wording.text(Site(use.event.site.source, node.iter)) if hasattr(node, "iter") else ""


def _function(event: Event) -> str:
    """The name of the running function."""
    function = event.frames[-1].function
    return function.name if function is not None else ""


def _is_any_idle(program: Program, trained: list[Use]) -> bool:
    """Whether a loader of other examples is made beside those of training, and never iterated over."""
    beside = {use.loader.source for use in trained}
    iterated = {id(loader) for event in program.of("forward", "backward") for loader, _ in pipelines.loaders_of(event)}
    idle = (loader for loader in pipelines.loaders(program) if id(loader) not in iterated and loader.source in beside)
    return any(_trained_on(loader, trained) is None for loader in idle)


def _evaluated(use: Use, training: Use) -> Draft:
    source, loader = use.event.site.source, use.loader
    site = Site(source, getattr(use.loop.node, "iter", use.loop.node))
    message = f"`{wording.text(site)}` evaluates the model on the examples that it was trained on"
    evidence = [(loader.site, "these examples")]
    if training.loader is not loader:
        evidence.append((training.loader.site, "the same ones here"))
    evidence.append((training.event.site, "are trained on here"))
    return Draft("ND605", site, message, tuple(evidence), Confidence.LIKELY)


# Augmented ------------------------------------------------------------------------------------------------------------


@rule("ND602")
def augmentation_on_evaluation(program: Program) -> Iterator[Draft]:
    trained = {id(use.loader) for use in pipelines.training_uses(program)}
    learned = [d for use in pipelines.training_uses(program) for d in pipelines.datasets(use.loader)]
    evaluated = {id(use.loader): use for use in pipelines.evaluation_uses(program)}
    for loader in pipelines.loaders(program):
        data = pipelines.datasets(loader)
        use = evaluated.get(id(loader))
        if id(loader) in trained or len(data) != 1 or any(data[0] is other for other in learned):
            continue
        if use is not None and _DELIBERATE.search(_function(use.event)):
            continue
        split = use is not None and _shares(data[0], learned)
        if split or _is_held_out(data[0], use):
            yield from _augmented(program, data[0], use, split)


def _shares(dataset: Value, learned: list[Value]) -> bool:
    """Whether a dataset is a part of one whose other part is trained on."""
    root = pipelines.whole(dataset)
    return root is not dataset and any(pipelines.whole(other) is root for other in learned)


def _is_held_out(dataset: Value, use: Use | None) -> bool:
    if use is None and pipelines.is_subset(dataset):
        return False  # test sets are also taken apart to train on them
    split = pipelines.split_of(pipelines.whole(dataset))
    if split is False or (isinstance(split, str) and _HELD_OUT.search(split)):
        return True
    text = _iterated(use) if use is not None else ""
    return bool(_HELD_OUT.search(text)) and not _TRAINING.search(text)


def _augmented(program: Program, dataset: Value, use: Use | None, split: bool) -> Iterator[Draft]:
    random = _random_steps(program, dataset)
    if not random:
        return
    site = dataset.site
    names = " and ".join(dict.fromkeys(step.name for step in random[:2]))
    message = f"the examples of `{wording.text(site)}` are evaluated after a random {names}"
    evidence = [(step.site, "random at each access") for step in random]
    if use is not None:
        evidence.append((use.event.site, "evaluated here"))
    yield Draft("ND602", site, message, tuple(evidence), Confidence.CERTAIN, None, _SPLIT if split else None)


_SPLIT = """Make two datasets of the same files, one with the augmenting transform and one with the plain one, and take
`torch.utils.data.Subset`s of them by the same shuffled indices."""


def _random_steps(program: Program, dataset: Value) -> list[Lib]:
    """The random transforms that every example of a dataset passes through."""
    root = pipelines.whole(dataset)
    if type(root) is Instance:
        applied = (e for e in program.of("transform") if e.frames[-1].receiver is root and not e.assumed)
        return [step for event in applied for step in pipelines.random_steps(event.subject)]
    found = [pipelines.random_steps(transform) for transform in pipelines.transforms_of(dataset)]
    return found[0] if found and all(found) else []
