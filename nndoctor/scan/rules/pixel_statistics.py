"""Normalisation of images: with other numbers than the network was, or will be, used to."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import pipelines, wording
from nndoctor.scan.rules.batches import is_loader
from nndoctor.scan.rules.pixels import numbers, way
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Const, Lib, Value
from nndoctor.thresholds import Threshold


def normalisation(transform: Value) -> Lib | bool | None:
    """The `Normalize` of a transform; False if it has none for certain, None if that is unknown."""
    steps = list(pipelines.steps(transform))
    if not all(map(pipelines.is_transform, steps)) or any(step.name == "Lambda" for step in steps):
        return None
    return next((step for step in steps if step.name == "Normalize"), False)


# ND608 ----------------------------------------------------------------------------------------------------------------


@rule("ND608")
def normalised_wrongly(program: Program) -> Iterator[Draft]:
    """Held-out images that are normalised otherwise than those of training, or with the mean of other data."""
    trained = pipelines.training_uses(program)
    known = {id(use.loader) for use in trained}
    tested = {id(use.loader): use for use in pipelines.evaluation_uses(program) if id(use.loader) not in known}
    yield from _of_other_data([use.loader for use in (*trained, *tested.values())])
    for other in tested.values():
        for use in trained:
            if pipelines.in_one_script(use, other) and pipelines.trains(use, other.event.subject):
                yield from _differently(use.loader, other.loader)


MEAN_TOLERANCE = Threshold("ND608", "mean-tolerance", 0.003, "Means are written with three or four digits.")
MEAN_MATTERS = Threshold("ND608", "mean-matters", 0.2, "A smaller shift of the mean is taken up by the first layer.")


def _of_other_data(loaders: list[Lib]) -> Iterator[Draft]:
    for root in (pipelines.whole(dataset) for loader in loaders for dataset in pipelines.datasets(loader)):
        own = torch_api.PIXEL_MEANS.get(root.name) if pipelines.is_of_torchvision(root) else None
        for transform in pipelines.transforms_of(root) if own is not None else ():
            step = normalisation(transform)
            mean = numbers(step.args.get("mean")) if type(step) is Lib else None
            other = _whose(mean) if mean is not None else None
            if other not in (None, root.name) and type(step) is Lib and mean is not None and own is not None:
                yield _borrowed(step, root.name, str(other), abs(own[0] - mean[0]))


def _whose(mean: tuple[float, ...]) -> str | None:
    """The dataset whose mean this is."""
    for name, known in torch_api.PIXEL_MEANS.items():
        if len(known) == len(mean) and all(abs(a - b) < MEAN_TOLERANCE.value for a, b in zip(known, mean, strict=True)):
            return name
    return None


def _borrowed(step: Lib, own: str, other: str, shift: float) -> Draft:
    site = step.site
    message = f"`{wording.text(site)}` normalises {own} with the numbers of {other}"
    confidence = Confidence.LIKELY if shift > MEAN_MATTERS.value else Confidence.POSSIBLE
    return Draft("ND608", site, message, (), confidence, None, f"Use the mean and the standard deviation of {own}.")


def _differently(loader: Lib, other: Lib) -> Iterator[Draft]:
    ours, theirs = _only_transform(loader), _only_transform(other)
    if ours is None or theirs is None or _data_of(loader) != _data_of(other):
        return
    here, there = normalisation(ours), normalisation(theirs)
    figures = _numbers_of(here), _numbers_of(there)
    if here is None or there is None or figures[0] == figures[1] or None in (*figures[0], *figures[1]):
        return
    blamed, right = (step if type(step) is Lib else whole for step, whole in ((there, theirs), (here, ours)))
    how = "not normalised as" if type(here) is Lib else "normalised, unlike"
    message = f"the held-out images are {how} those that the model is trained on"
    evidence = ((right.site, "the training images go through this"),)
    treatment = "Normalise both with the same numbers, those of the training set."
    yield Draft("ND608", blamed.site, message, evidence, Confidence.CERTAIN, None, treatment)


def _only_transform(loader: Lib) -> Lib | None:
    data = pipelines.datasets(loader)
    found = pipelines.transforms_of(data[0]) if len(data) == 1 else []
    return found[0] if len(found) == 1 and pipelines.is_transform(found[0]) else None


def _data_of(loader: Lib) -> object:
    """The kind of data, whatever the split: two sets of one kind can be compared."""
    root = pipelines.whole(pipelines.datasets(loader)[0])
    return root.api if pipelines.is_of_torchvision(root) and root.name in torch_api.TRAIN_FLAG else id(root)


def _numbers_of(step: Lib | bool | None) -> tuple[object, ...]:
    return (numbers(step.args.get("mean")), numbers(step.args.get("std"))) if type(step) is Lib else ()


# ND607 ----------------------------------------------------------------------------------------------------------------

_FIRST_LAYERS = ("conv1", "features", "patch_embed", "conv_proj", "conv_stem", "stem")  # replaced for other inputs
_NORMALISE_THEMSELVES = tuple(f"torchvision.models.{name}." for name in ("detection", "quantization", "optical_flow"))


@rule("ND607")
def pretrained_without_normalisation(program: Program) -> Iterator[Draft]:
    reported: set[int] = set()
    for event in program.of("forward"):
        for model, given in _pretrained_calls(event):
            found = way(given)
            step = _fed(model, found.start) if not found.changes else None
            if step is not None and id(step) not in reported:
                reported.add(id(step))
                yield _not_normalised(model, step, event)


def _pretrained_calls(event: Event) -> Iterator[tuple[Lib, Value]]:
    """The pretrained library models that a forward runs, and what they are given."""
    models = {id(part): part for part in kinds.descendants(event.subject) if _is_pretrained(part)}
    if id(event.subject) in models:
        if event.details["args"]:
            yield event.subject, event.details["args"][0]
        return
    for term in pipelines.origins(event.details["result"]) if models else ():
        layer = (term.info or {}).get("layer")
        if term.op in ("logits", "features") and id(layer) in models and term.inputs:
            yield layer, term.inputs[0]  # type: ignore[misc]


def _is_pretrained(model: Value) -> bool:
    if type(model) is not Lib or model.kind != "model" or any(name in model.attrs for name in _FIRST_LAYERS):
        return False
    if model.api.startswith(_NORMALISE_THEMSELVES) or "in_chans" in model.args:
        return False
    weights = model.args.get("weights", model.args.get("pretrained"))
    if type(weights) is Const:
        return weights.value is True or (isinstance(weights.value, str) and weights.value != "")
    return type(weights) is Api and "_Weights" in weights.name


def _fed(model: Lib, start: Value) -> Lib | None:
    """The transform that leaves out the normalisation, or the one with other numbers than ImageNet's.

    Models of timm have numbers of their own.
    """
    if not is_loader(start) or "collate_fn" in start.args:
        return None
    data = pipelines.datasets(start)
    root = pipelines.whole(data[0]) if len(data) == 1 else None
    found = pipelines.transforms_of(root) if pipelines.is_of_torchvision(root) else []
    if len(found) != 1 or not any(step.name == "ToTensor" for step in pipelines.steps(found[0]) if type(step) is Lib):
        return None
    step = normalisation(found[0])
    if step is False:
        return found[0]  # type: ignore[no-any-return]
    mean = numbers(step.args.get("mean")) if type(step) is Lib else None
    other = mean is not None and max(mean) <= 1 and not _is_imagenet(mean)
    return step if other and type(step) is Lib and model.api.startswith("torchvision.") else None


def _is_imagenet(mean: tuple[float, ...]) -> bool:
    close = [abs(a - b) < IMAGENET_TOLERANCE.value for a, b in zip(mean, torch_api.IMAGENET_MEAN, strict=False)]
    return len(mean) == len(torch_api.IMAGENET_MEAN) and all(close)


IMAGENET_TOLERANCE = Threshold(
    "ND607", "imagenet-tolerance", 0.05, "CIFAR's means, and those of other photographs, are near enough."
)


def _not_normalised(model: Lib, step: Lib, event: Event) -> Draft:
    missing = step.name != "Normalize"
    site, name = step.site, f"`{wording.text(model.site)}`"
    message = f"images go to the pretrained {name} without the normalisation that it was trained with"
    if not missing:
        message = f"`{wording.text(site)}` is not the normalisation that the pretrained {name} was trained with"
    evidence = ((model.site, "pretrained on ImageNet"), (event.site, "given the images here"))
    confidence = Confidence.CERTAIN if missing else Confidence.LIKELY
    return Draft("ND607", site, message, evidence, confidence)
