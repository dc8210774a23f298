"""What rules ask about the way of an example: its dataset, its split, its transforms, and what its loader is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph
from nndoctor.scan.interpreter.data import OPEN
from nndoctor.scan.interpreter.kinds import held
from nndoctor.scan.interpreter.states import EVAL
from nndoctor.scan.program import Event, Loop, Program
from nndoctor.scan.rules.batches import is_loader, source_of
from nndoctor.scan.values import Const, Container, Instance, Lib, State, Term, Tuple, Value, is_false, leaves

MAX_NESTING = 8  # of subsets in subsets, and of transforms in transforms; real ones stay below four


# Loaders --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """A loop over a loader, and something that happens in it."""

    loader: Lib
    loop: Loop
    event: Event


def loaders(program: Program) -> list[Lib]:
    """Every DataLoader of torch that the program makes."""
    made = (event.details["result"] for event in program.calls("torch.utils.data.DataLoader"))
    return [loader for loader in made if is_loader(loader)]


def loaders_of(event: Event) -> Iterator[tuple[Lib, Loop]]:
    """The loaders that the loops around an event draw from."""
    for loop in event.loops:
        for leaf in event.options(source_of(loop.iterable)):
            source = source_of(leaf)
            if is_loader(source):
                yield source, loop  # type: ignore[misc]


def training_uses(program: Program) -> list[Use]:
    """Where the loss of a loader's batches is back-propagated for an optimizer, the first place for each loader."""
    found: dict[int, Use] = {}
    for event in program.of("backward"):
        if event.details["optimizers"]:
            for loader, loop in loaders_of(event):
                found.setdefault(id(loader), Use(loader, loop, event))
    return list(found.values())


def evaluation_uses(program: Program) -> list[Use]:
    """Where a loader's batches go through a model in eval mode or without a graph, and no loss is back-propagated."""
    trained = {id(loop.node) for event in program.of("backward") for loop in event.loops}
    return [
        Use(loader, loop, event)
        for event in program.of("forward")
        if _is_evaluation(event)
        for loader, loop in loaders_of(event)
        if id(loop.node) not in trained
    ]


def trains(training: Use, model: Value) -> bool:
    """Whether a model is certainly one of those that are trained there."""
    models = graph.models(training.event.subject) or ()
    return any(leaf is model for trained in models for leaf in leaves(trained))


def in_one_script(one: Use, other: Use) -> bool:
    """Whether two things happen in a run of the same file."""
    return one.event.frames[0].source is other.event.frames[0].source


def _is_evaluation(event: Event) -> bool:
    if is_false(event.grad):
        return True
    return all(type(mode) is State and mode.name == EVAL for mode in event.options(event.details["mode"]))


def is_given(made: Lib, *names: str) -> bool:
    """Whether one of these arguments was passed, and may be something else than None or False."""
    values = [leaf for name in names if name in made.args for leaf in leaves(made.args[name])]
    return OPEN in made.attrs or any(type(value) is not Const or bool(value.value) for value in values)


def constant(made: Lib, name: str) -> object:
    """The constant passed for a parameter; None if there is none."""
    value = made.args.get(name)
    return value.value if type(value) is Const else None


# Datasets -------------------------------------------------------------------------------------------------------------


def attribute(thing: Value, name: str) -> Value | None:
    """What an object holds under a name: set later, or passed when it was made."""
    if type(thing) is Lib:
        return thing.attrs.get(name, thing.args.get(name))
    return thing.attrs.get(name) if type(thing) is Instance else None


def datasets(loader: Lib) -> list[Value]:
    """What the dataset of a loader can be."""
    value = attribute(loader, "dataset")
    return list(leaves(value)) if value is not None else []


def whole(dataset: Value) -> Value:
    """The dataset that a subset was taken from; a dataset itself."""
    for _ in range(MAX_NESTING):
        inner = attribute(dataset, "dataset") if is_subset(dataset) else None
        if inner is None:
            break
        dataset = inner
    return dataset


def is_subset(dataset: Value) -> bool:
    """Whether a dataset is a subset of another."""
    return is_dataset(dataset) and dataset.name == "Subset"


def is_dataset(value: Value) -> bool:
    """Whether a value is a dataset of torch or torchvision."""
    return type(value) is Lib and value.kind == "dataset"


def is_of_torchvision(dataset: Value) -> bool:
    """Whether a dataset is one of torchvision's."""
    return is_dataset(dataset) and dataset.api.startswith("torchvision.")


def split_of(dataset: Value) -> object:
    """The part that was asked of a torchvision dataset: True or False of `train`, or the name of a split."""
    if not is_of_torchvision(dataset) or OPEN in dataset.attrs:
        return None
    for name in ("train", "split", "image_set"):
        if name in dataset.args:
            return constant(dataset, name)
    return True if dataset.name in torch_api.TRAIN_FLAG else None


# Transforms -----------------------------------------------------------------------------------------------------------


def transforms_of(dataset: Value) -> list[Value]:
    """What the transform of the inputs of a dataset can be."""
    found = attribute(whole(dataset), "transform")
    return list(leaves(found)) if found is not None else []


def steps(transform: Value, depth: int = MAX_NESTING) -> Iterator[Value]:
    """The single transforms that are certainly part of a transform, in order; what is unknown comes as it is."""
    kind = type(transform)
    if kind is Lib and transform.kind == "transform" and transform.name == "Compose" and depth:
        yield from steps(transform.args.get("transforms"), depth - 1)
    elif depth and (kind in (Tuple, Container) or (kind is Lib and transform.kind == "container")):
        for item in held(transform):
            yield from steps(item, depth - 1)
    elif transform is not None:
        yield transform


def is_transform(value: Value) -> bool:
    """Whether a value is a transform of torchvision or albumentations."""
    return type(value) is Lib and value.kind == "transform"


def random_steps(transform: Value) -> list[Lib]:
    """The random transforms that are certainly part of a transform."""
    found: list[Lib] = []
    size: object = None
    for step in steps(transform):
        if not is_transform(step):
            continue
        if _is_random(step) and not (step.name == "RandomCrop" and _fits(step, size)):
            found.append(step)
        size = constant(step, "size") if step.name in ("Resize", "CenterCrop") else size
    return found


def _fits(crop: Lib, size: object) -> bool:
    """Whether a random crop takes the whole image, which has just been brought to its size."""
    return size is not None and constant(crop, "size") == size and not is_given(crop, "padding")


_WRAPPING = frozenset({"RandomApply", "RandomChoice", "RandomOrder", "OneOf", "SomeOf"})


def _is_random(step: Lib) -> bool:
    chance = constant(step, "p")
    if chance in (0, 0.0) or (chance == 1 and step.name not in _WRAPPING):
        return False
    if step.name in _WRAPPING:
        return step.name != "RandomApply" or any(map(is_transform, steps(step.args.get("transforms"))))
    if step.name in ("RandomRotation", "ColorJitter") and not any(is_given(step, name) for name in step.args):
        return False  # `RandomRotation(0)` and `ColorJitter()` do nothing
    return step.name in torch_api.RANDOM_TRANSFORMS


def origins(value: Value, seen: set[int] | None = None, stop: tuple[str, ...] = ()) -> Iterator[Term]:
    """A value and everything that it was computed from, as far as the operations `stop` and what was `seen` before."""
    seen = set() if seen is None else seen
    stack, limit = [value], len(seen) + MAX_ORIGINS
    while stack and len(seen) < limit:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if type(current) is Term:
            yield current
            stack.extend(current.inputs if current.op not in stop else ())
        elif is_loader(current) or is_dataset(current):
            stack.extend(value for name, value in current.args.items() if name in ("dataset", "tensors"))
        elif type(current) in (Tuple, Container):
            stack.extend(held(current))
        else:
            stack.extend(leaf for leaf in leaves(current) if leaf is not current)


MAX_ORIGINS = 400  # terms behind one value that are looked at; datasets are made in far fewer steps
