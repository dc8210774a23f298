"""Random flips and crops of an image that its target does not follow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.findings import Confidence, Severity
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter.data import TRANSFORMED
from nndoctor.scan.interpreter.dtypes import IMAGE, UINT8
from nndoctor.scan.interpreter.kinds import held
from nndoctor.scan.program import Program
from nndoctor.scan.rules import pipelines, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Api, Choice, Class, Container, Instance, Lib, Term, Tuple, Value, leaves

# How files are called that hold a target for each pixel.
_TARGET = re.compile(
    r"mask|seg|label|annot|(?<![a-z])gt(?![a-z])|ground|depth|target|contour|salien|matte|trimap", re.IGNORECASE
)
_SEEDING = (
    *("torch.manual_seed", "torch.random.manual_seed", "torch.set_rng_state", "torch.random.set_rng_state"),
    *("random.seed", "random.setstate", "numpy.random.seed", "numpy.random.set_state"),
)


@rule("ND603")
def flip_without_target(program: Program) -> Iterator[Draft]:
    seeding = {cls for event in program.calls(*_SEEDING) for cls in _classes(event.frames)}
    for event in program.of("example"):
        if type(event.subject) is Instance and event.subject.cls not in seeding:
            yield from _in_example(event.details["result"])
    yield from _in_datasets(program)


def _classes(frames: tuple[object, ...]) -> Iterator[Class]:
    for frame in frames:
        receiver = getattr(frame, "receiver", None)
        if type(receiver) is Instance:
            yield receiver.cls


# Datasets of the project ----------------------------------------------------------------------------------------------


def _in_example(result: Value) -> Iterator[Draft]:
    for leaf in leaves(result):
        items = held(leaf) if type(leaf) in (Tuple, Container) else ()
        targets = [(item, load) for item in items if (load := _load(item, True)) is not None]
        images = [item for item in items if _load(item, True) is None and _load(item, False) is not None]
        for image in images:
            for target, load in targets:
                yield from _apart(image, target, load)


def _load(item: Value, is_target: bool) -> Term | None:
    """Where the picture was loaded that an item was made of: a target by its name, or the image itself."""
    for term in pipelines.origins(item):
        loaded = (term.op == IMAGE or (term.op == "call" and term.dtype == UINT8)) and _is_first(term)
        if loaded and (site := term.site) is not None:
            named = bool(_TARGET.search(wording.text(site)))
            if named is is_target:
                return term
    return None


def _is_first(image: Term) -> bool:
    """Whether a picture was not made of another one."""
    return not any(type(part) is Term and part.op == IMAGE for part in image.inputs)


def _apart(image: Value, target: Value, load: Term) -> Iterator[Draft]:
    """What moves the image at random, and not the target with it."""
    moving, following = _moving(image), _moving(target)
    for key, term in moving.items():
        if key not in following:
            own = next(iter(following.values()), None)
            yield _moved(term, load, own)
            return
    flips = _flips(image)
    for guard, term in flips.items():
        if guard not in _guards(target):
            yield _moved(term, load, None)
            return


def _moving(item: Value) -> dict[int, Term]:
    """The calls of transforms that moved the pixels of an item at random."""
    return {id(term): term for term in pipelines.origins(item) if term.op == TRANSFORMED and _steps_of(term)}


def _steps_of(term: Term) -> list[Lib]:
    layer = (term.info or {}).get("layer")
    return [step for step in pipelines.random_steps(layer) if step.name in torch_api.MOVING_TRANSFORMS]


def _moved(term: Term, load: Term, own: Term | None) -> Draft:
    site, loaded = (own or term).site, load.site
    assert site is not None and loaded is not None
    message = f"`{wording.text(site)}` moves the pixels of the image at random, and its target stays as it is"
    if own is not None:
        message = f"`{wording.text(site)}` draws anew: the target is not moved as its image is"
    steps = [(step.site, "random at each call") for step in _steps_of(term)[:2]]
    evidence = ((loaded, "the target is loaded here"), *steps)
    return Draft("ND603", site, message, evidence, Confidence.LIKELY)


_FLIPPING = frozenset({"flip", "fliplr", "flipud"})
_FLIP_NAMES = ("hflip", "vflip", "horizontal_flip", "vertical_flip", "cv2.flip", "ImageOps.mirror", "ImageOps.flip")


def _is_flip(value: Value) -> bool:
    if type(value) is not Term or value.node is None:
        return False
    called = value.op == "call" and value.inputs and type(value.inputs[0]) is Api
    return value.op in _FLIPPING or bool(called and value.inputs[0].name.endswith(_FLIP_NAMES))


def _choices(item: Value) -> Iterator[Choice]:
    """The points at which a branch decided what an item became."""
    stack: list[Value] = [item]
    seen: set[int] = set()
    while stack and len(seen) < pipelines.MAX_ORIGINS:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if type(current) is Choice:
            yield current
            stack.extend((current.then, current.otherwise))
        elif type(current) is Term:
            stack.extend(current.inputs)
        elif type(current) in (Tuple, Container):
            stack.extend(held(current))


def _guards(item: Value) -> set[int]:
    return {id(choice.guard) for choice in _choices(item)}


def _flips(item: Value) -> dict[int, Term]:
    """Flips that a random number decides about, by the condition."""
    found: dict[int, Term] = {}
    for choice in _choices(item):
        flipped = next((leaf for leaf in (choice.then, choice.otherwise) if _is_flip(leaf)), None)
        if flipped is not None and _is_random(choice.guard):
            found[id(choice.guard)] = flipped
    return found


_RANDOM = ("random.", "numpy.random.")
_RANDOM_OPS = frozenset({"rand", "randint", "randn"})


def _is_random(guard: Term) -> bool:
    return any(
        term.op in _RANDOM_OPS
        or (term.op == "call" and term.inputs and getattr(term.inputs[0], "name", "").startswith(_RANDOM))
        for term in pipelines.origins(guard)
    )


# Datasets of torchvision ----------------------------------------------------------------------------------------------

_DATASETS = tuple(f"torchvision.datasets.{name}" for name in torch_api.DENSE_DATASETS | torch_api.NOT_TO_BE_FLIPPED)


def _in_datasets(program: Program) -> Iterator[Draft]:
    for event in program.calls(*_DATASETS):
        dataset = event.details["result"]
        found = [pipelines.random_steps(transform) for transform in pipelines.transforms_of(dataset)]
        if not found or not all(found):
            continue
        dense = dataset.name in torch_api.DENSE_DATASETS
        wanted = torch_api.MOVING_TRANSFORMS if dense else torch_api.FLIPS
        step = next((step for step in found[0] if step.name in wanted), None)
        if step is None or (dataset.name == "OxfordIIITPet" and not _is_segmentation(dataset)):
            continue
        yield _of_dense(dataset, step) if dense else _of_signs(dataset, step)


def _is_segmentation(dataset: Lib) -> bool:
    return pipelines.constant(dataset, "target_types") == "segmentation"


def _of_dense(dataset: Lib, step: Lib) -> Draft:
    site = dataset.site
    message = f"`transform` moves the images of {dataset.name} at random ({step.name}), and not their targets"
    evidence = ((step.site, "random at each access"),)
    treatment = "Pass a joint transform of `torchvision.transforms.v2` as `transforms=`, which gets image and target."
    return Draft("ND603", site, message, evidence, Confidence.CERTAIN, None, treatment)


def _of_signs(dataset: Lib, step: Lib) -> Draft:
    site = step.site
    message = f"`{wording.text(site)}` mirrors the signs of {dataset.name}, whose labels hold for upright ones only"
    evidence = ((dataset.site, "applied to these"),)
    treatment = (
        "Leave the flip out: a mirrored 2, 5 or arrow is no example of its class. Small rotations and shifts are."
    )
    return Draft("ND603", site, message, evidence, Confidence.LIKELY, Severity.WARNING, treatment)
