"""What happens to the batch axis: lost by a squeeze or a flatten, broadcast inside a loss."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.gradient_flow import is_data
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.shapes import MAY_BE_ONE, Dim
from nndoctor.scan.values import Const, Lib, Term, Value, leaves

# ND503


@rule("ND503")
def squeeze_without_dimension(program: Program) -> Iterator[Draft]:
    restored = {id(event.subject) for event in program.methods("unsqueeze")}  # `if x.dim() == 1: x = x.unsqueeze(0)`
    needed = _needed(program)
    for event in program.methods("squeeze"):
        args, result = event.details["args"], id(event.details["result"])
        if not args.all and not args.open and result not in restored:
            yield from _squeezed(event, event.subject, result in needed)
    for event in program.calls("torch.squeeze"):
        args, result = event.details["args"], id(event.details["result"])
        if len(args.all) == 1 and not args.open and result not in restored:
            yield from _squeezed(event, args.all[0], result in needed)


def _needed(program: Program) -> set[int]:
    """The ids of tensors that are given to a layer or a loss of classes, for which the batch has to be in front."""
    classes = (torch_api.LOGITS, torch_api.LOG_PROBABILITIES)
    given = [event.details["input"] for event in program.of("apply")]
    given += [event.subject for event in program.of("loss") if event.details["expects"] in classes]
    found: set[int] = set()
    stack = [leaf for tensor in given for leaf in leaves(tensor)]
    while stack:
        value = stack.pop()
        found.add(id(value))
        if type(value) is Term and value.op in POINTWISE | {"forward", "returned"}:
            stack.append(value.inputs[0])
    return found


def _squeezed(event: Event, tensor: Value, needed: bool) -> Iterator[Draft]:
    for option in event.options(tensor):
        dims = option.shape.dims if type(option) is Term and option.shape is not None else None
        if dims is None or not _loses_meaning(dims):
            continue
        axis = next(i for i, dim in enumerate(dims) if dim.is_one)
        made = wording.made_at(option)
        call = f"squeeze({axis if axis < len(dims) - 1 else -1})"
        treatment = f"Name the axis: `{call}`." if _ones(dims) == 1 else "Name the axes, or use `flatten(1)`."
        message = f"`{wording.text(event.site)}` also drops the axis of the batch when it holds one example"
        confidence = Confidence.LIKELY if needed else Confidence.POSSIBLE
        yield Draft("ND503", event.site, message, made, confidence, treatment=treatment)
        return


def _ones(dims: tuple[Dim, ...]) -> int:
    return sum(1 for dim in dims if dim.is_one)


def _loses_meaning(dims: tuple[Dim, ...]) -> bool:
    """Whether there are axes of size 1 to drop, the axis of a batch, and others that stay."""
    stay = [dim for dim in dims if not dim.is_one and not any(size.op in MAY_BE_ONE for size in dim.atoms)]
    return bool(_ones(dims)) and any(map(_is_batch, dims)) and len(stay) > 1


def _is_batch(dim: Dim) -> bool:
    """Whether a size is that of the first axis of what a model was given."""
    size = next(iter(dim.atoms), None)
    if size is None or dim.number != 1 or len(dim.atoms) != 1 or size.op != "dim" or len(size.inputs) < 2:
        return False
    return type(size.inputs[1]) is Const and size.inputs[1].value == 0


# ND504


@rule("ND504")
def flatten_with_batch(program: Program) -> Iterator[Draft]:
    for event in program.of("apply"):
        if event.details["operation"] != "linear":
            continue
        for option in event.options(event.details["input"]):
            flat = _flattened(option)
            loader = batch_loader(flat.inputs[0]) if flat is not None else None
            if flat is not None and loader is not None and (confidence := holds_several(loader)):
                yield _mixed(event, flat, loader, confidence)


POINTWISE = torch_api.ACTIVATION_OPS | frozenset("dropout to float cuda contiguous clone requires_grad_".split())


def _flattened(value: Value) -> Term | None:
    """The operation that made one row of a whole tensor, if that is what a layer is given."""
    while type(value) is Term and value.op in POINTWISE:
        value = value.inputs[0]
    if type(value) is not Term or value.info is None or "args" not in value.info or "layer" in value.info:
        return None
    sizes = value.info["args"].all[1:]
    if value.op in ("flatten", "ravel"):
        return value if not sizes else None
    row = len(sizes) == 1 and type(sizes[0]) is Const and sizes[0].value == -1
    return value if value.op in ("view", "reshape") and row else None


_KEEPS_BATCH = (
    POINTWISE
    | torch_api.MODE_OPS
    | frozenset("conv linear norm pool adaptive_pool upsample pad view reshape flatten unsqueeze cpu double".split())
    | {"forward", "returned"}
)


def batch_loader(value: Value) -> Lib | None:
    """The loader whose whole batch a tensor was computed from."""
    while type(value) is Term and value.op in _KEEPS_BATCH and value.inputs:
        value = value.inputs[0]
    if type(value) is not Term or not is_data(value):
        return None
    source = next((t for t in graph.ancestors(value, through_cuts=True) if t.op == "batch"), None)
    return source.inputs[0] if source is not None and value.op in ("part", "batch") else None


def holds_several(loader: Lib) -> Confidence | None:
    """How certain it is that a batch holds several examples; by default it holds one."""
    size = loader.args.get("batch_size")
    if size is None or (type(size) is Const and size.value in (None, 1)):
        return None
    return Confidence.CERTAIN if type(size) is Const else Confidence.LIKELY


def _mixed(event: Event, flat: Term, loader: Lib, confidence: Confidence) -> Draft:
    site = flat.site or event.site
    message = f"`{wording.text(site)}` makes one row of all examples of the batch, and a linear layer is given it"
    evidence = ((loader.site, "batches of this loader"), (event.site, "the linear layer"))
    return Draft("ND504", site, message, evidence, confidence)
