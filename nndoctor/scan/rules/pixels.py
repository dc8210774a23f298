"""What becomes of pixels on their way to the network: scaled twice, or never, or normalised before they are numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter.data import PIXELS, RESULT, TRANSFORMED
from nndoctor.scan.interpreter.dtypes import IMAGE
from nndoctor.scan.interpreter.kinds import held
from nndoctor.scan.program import Program
from nndoctor.scan.rules import pipelines, wording
from nndoctor.scan.rules.batches import is_loader, source_of
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import NONE, Api, Const, Container, Lib, Term, Tuple, Value

BYTE = 255  # what bytes are divided by; 256 is also the unit of depths in images of 16 bits

_PASSING = frozenset(
    """to cuda cpu float double half type contiguous view reshape unsqueeze squeeze permute transpose flatten clone
    detach returned requires_grad_ from_numpy tensor as_tensor array asarray astype stack element""".split()
)


@dataclass(frozen=True, slots=True)
class Way:
    """Where pixels come from, and the arithmetic with constants between there and here."""

    start: Value
    changes: tuple[Term, ...]


def way(value: Value) -> Way:
    """The way of an image or a batch of them back to the loader or transform that it comes from."""
    changes: list[Term] = []
    while type(value) is Term and value.inputs:
        if value.op == "batch":
            return Way(source_of(value.inputs[0]), tuple(changes))
        if value.op in ("/", "*", "-", "+") and len(value.inputs) == 2 and type(value.inputs[1]) is Const:
            changes.append(value)
        elif value.op in ("part", "item"):
            if type(value.inputs[-1]) is Const and value.inputs[-1].value not in (0, "image", "img", "pixel_values"):
                break
        elif value.op not in _PASSING:
            break
        value = value.inputs[0]
    return Way(value, tuple(changes))


# ND608 ----------------------------------------------------------------------------------------------------------------


@rule("ND608")
def scaled_wrongly(program: Program) -> Iterator[Draft]:
    inputs = [way(event.details["args"][0]) for event in program.of("forward") if event.details["args"]]
    yield from _scaled_again(program, inputs)
    for event in program.calls("torchvision.transforms.Compose", "torchvision.transforms.v2.Compose"):
        composed = event.details["result"]
        if type(composed) is Lib:
            yield from _scaled_in_lambda(list(pipelines.steps(composed)))
            yield from _wrong_order(composed)
            yield from _never_scaled(composed, inputs)


def _scaled_again(program: Program, inputs: list[Way]) -> Iterator[Draft]:
    """Divisions by 255 of what `ToTensor` has brought to 0 to 1."""
    for event in program.of("example"):
        inputs = [*inputs, *map(way, _divisions(event.details["result"]))]
    for entry in inputs:
        division = next((change for change in entry.changes if _divides(change)), None)
        maker = _scaled_by(entry.start) if division is not None and not _multiplies(entry) else None
        if division is not None and maker is not None:
            yield _twice(division, maker)


def _divisions(result: Value) -> Iterator[Term]:
    return (term for term in pipelines.origins(result) if term.op in ("/", "*") and _divides(term))


def _divides(term: Term) -> bool:
    factor = term.inputs[1].value if len(term.inputs) == 2 and type(term.inputs[1]) is Const else None
    if not isinstance(factor, int | float) or not factor:
        return False
    return factor == BYTE if term.op == "/" else term.op == "*" and round(1 / factor) == BYTE


def _multiplies(entry: Way) -> bool:
    return any(c.op == "*" and c.inputs[1].value == BYTE for c in entry.changes)


def _scaled_by(start: Value) -> Lib | Term | None:
    """The `ToTensor` that brought bytes to 0 to 1, if pixels certainly come from one."""
    if is_loader(start):
        return _scaled_for(start)
    if type(start) is not Term:
        return None
    if start.op == TRANSFORMED and _is_image(start.inputs[0]):
        return _to_tensor((start.info or {}).get("layer"))
    called = start.op == "call" and len(start.inputs) > 1 and _is_functional(start.inputs[0], "to_tensor")
    return start if called and _is_image(start.inputs[1]) else None


def _scaled_for(loader: Lib) -> Lib | None:
    data = pipelines.datasets(loader) if "collate_fn" not in loader.args else []
    root: Value = pipelines.whole(data[0]) if len(data) == 1 else NONE
    if not pipelines.is_of_torchvision(root) or root.name in torch_api.NOT_OF_IMAGES or "loader" in root.args:
        return None
    transforms = pipelines.transforms_of(root)
    return _to_tensor(transforms[0]) if len(transforms) == 1 else None


def _is_image(value: Value) -> bool:
    return type(value) is Term and value.op == IMAGE


def _is_functional(callee: Value, name: str) -> bool:
    return type(callee) is Api and callee.name.startswith("torchvision.") and callee.name.endswith(f"functional.{name}")


def _to_tensor(transform: Value) -> Lib | None:
    """The `ToTensor` of a transform all whose steps are known."""
    steps = list(pipelines.steps(transform))
    if not all(map(pipelines.is_transform, steps)) or any(step.name == "Lambda" for step in steps):
        return None
    return next((step for step in steps if step.name == "ToTensor"), None)


def _twice(division: Term, maker: Lib | Term) -> Draft:
    site, made = division.site, maker.site
    assert site is not None
    message = f"`{wording.text(site)}` scales pixels that `ToTensor` has already brought to 0 to 1"
    evidence = ((made, "scaled here"),) if made is not None else ()
    return Draft("ND608", site, message, evidence, Confidence.CERTAIN)


def _scaled_in_lambda(steps: list[Value]) -> Iterator[Draft]:
    maker = None
    for step in steps:
        if not pipelines.is_transform(step):
            return
        result = step.attrs.get(RESULT) if step.name == "Lambda" else None
        if type(result) is Term and maker is not None:
            found = way(result)
            if (
                type(found.start) is Term
                and found.start.op == PIXELS
                and len(found.changes) == 1
                and _divides(found.changes[0])
            ):
                yield _twice(found.changes[0], maker)
        maker = step if step.name == "ToTensor" else None if step.name == "Lambda" else maker


def _wrong_order(composed: Lib) -> Iterator[Draft]:
    """`Normalize` before the step that makes a tensor."""
    early: Lib | None = None
    for step in pipelines.steps(composed):
        if not pipelines.is_transform(step) or step.name == "Lambda":
            return
        if step.name == "Normalize" and early is None:
            early = step
        elif step.name in torch_api.TENSOR_MAKERS:
            if early is not None:
                site = early.site
                message = f"`{wording.text(site)}` stands before `{step.name}`: it needs a tensor and gets an image"
                yield Draft("ND608", site, message, ((step.site, "the tensor is made here"),))
            return


def _never_scaled(composed: Lib, inputs: list[Way]) -> Iterator[Draft]:
    """Bytes that become floats between 0 and 255: `ToDtype(torch.float32)` without `scale=True`."""
    steps = list(pipelines.steps(composed))
    known = all(pipelines.is_transform(step) and step.name != "Lambda" for step in steps)
    made = next((i for i, step in enumerate(steps) if known and step.name in torch_api.BYTE_TENSORS), None)
    if made is None or any(_scales(step) for step in steps):
        return
    cast = next((step for step in steps[made:] if step.name == "ToDtype" and _is_float(step)), None)
    fed = [entry for entry in inputs if _comes_through(entry.start, composed)]
    if cast is None or any(entry.changes for entry in fed):
        return
    site = cast.site
    message = f"`{wording.text(site)}` leaves the pixels between 0 and 255"
    evidence = ((steps[made].site, "bytes from here"),)
    treatment = "Write `ToDtype(torch.float32, scale=True)`, which divides by 255."
    yield Draft("ND608", site, message, evidence, Confidence.LIKELY, None, treatment)


def _scales(step: Lib) -> bool:
    if step.name == "Normalize":
        mean = numbers(step.args.get("mean"))
        return mean is None or max(mean) > 1  # written for 0 to 255
    return step.name in torch_api.SCALING_TRANSFORMS or (step.name == "ToDtype" and pipelines.is_given(step, "scale"))


def _is_float(step: Lib) -> bool:
    dtype = step.args.get("dtype")
    return type(dtype) is Api and dtype.name in ("torch.float32", "torch.float", "torch.float16", "torch.bfloat16")


def _comes_through(start: Value, transform: Lib) -> bool:
    data = pipelines.datasets(start) if is_loader(start) else []
    return any(found is transform for dataset in data for found in pipelines.transforms_of(dataset))


def numbers(value: Value) -> tuple[float, ...] | None:
    """The numbers of a tuple or list of constants."""
    items = held(value) if type(value) in (Tuple, Container) else (value,)
    values = [item.value for item in items if type(item) is Const and isinstance(item.value, int | float)]
    return tuple(values) if values and len(values) == len(items) else None
