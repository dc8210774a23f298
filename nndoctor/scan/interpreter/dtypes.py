"""Element types: which operations make bytes, which make floats, and where bytes can overflow."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Api, Const, Term, Value

UINT8, FLOAT, INT, BOOL, MASK = "uint8", "float", "int", "bool", "mask"  # mask: bytes that are 0 or 1

_NAMES = {
    "torch.uint8": UINT8, "numpy.uint8": UINT8, "builtins.float": FLOAT, "builtins.bool": BOOL, "builtins.int": INT, "torch.bool": BOOL,
    "torch.long": INT, "torch.int64": INT, "torch.int32": INT, "torch.int": INT, "numpy.int64": INT, "numpy.int32": INT,
    **dict.fromkeys((f"{m}.{t}" for m in ("torch", "numpy") for t in ("float", "float16", "float32", "float64", "half", "double", "bfloat16", "single")), FLOAT),
}  # fmt: skip
_MADE = {"float": FLOAT, "double": FLOAT, "half": FLOAT, "bfloat16": FLOAT, "long": INT, "bool": BOOL}
_BOOL_OPS = frozenset("eq ne gt lt ge le isnan isinf isfinite logical_and logical_or logical_not any all equal".split())
_FLOAT_OPS = frozenset(
    "linear conv softmax log_softmax sigmoid tanh batchnorm norm exp log sqrt mean std var rand randn normal embedding".split()
)
_KEEPING = torch_api.TRANSPARENT | frozenset(
    "max min abs relu clamp cumsum pad where amax amin minimum maximum neg upsample".split()
)
_IMAGES = frozenset({"cv2.imread", "torchvision.io.read_image", "torchvision.io.decode_image", "torchvision.io.image.read_image",
                     "torchvision.transforms.functional.pil_to_tensor", "torchvision.io.decode_jpeg", "torchvision.io.decode_png",
                     "imageio.imread", "imageio.v2.imread", "imageio.v3.imread"})  # fmt: skip


def of_operation(run: Machine, op: str, first: Value | None, args: Any) -> str | None:
    """The element type of a result, where it is known."""
    named = args.keywords.get("dtype")
    if named is not None:
        return of_name(run.resolve(named), op)
    before = first.dtype if type(first) is Term else None
    if op == "byte":
        return MASK if before in (BOOL, MASK) else UINT8
    if op in _BOOL_OPS:
        return BOOL
    if op in _MADE:
        return _MADE[op]
    if op in _FLOAT_OPS:
        return FLOAT
    if op in ("to", "type"):
        return _cast(run, before, args)
    if op in ("from_numpy", "array", "asarray", "as_tensor", "tensor", "frombuffer"):
        return UINT8 if _is_image(first) and op in ("array", "asarray") else before
    return before if op in _KEEPING else None


def of_name(value: Value, op: str = "") -> str | None:
    """The element type that a `dtype` argument names."""
    name = _NAMES.get(value.name) if type(value) is Api else None
    if type(value) is Const and isinstance(value.value, str):
        name = {"uint8": UINT8, "float32": FLOAT, "float64": FLOAT, "int64": INT}.get(value.value)
    return MASK if name == UINT8 and op in ("zeros", "ones", "zeros_like", "ones_like", "eye", "full") else name


def _cast(run: Machine, before: str | None, args: Any) -> str | None:
    if len(args.positional) < 2:
        return before
    target = run.resolve(args.positional[1])
    named = of_name(target)
    if named is not None:
        return MASK if named == UINT8 and before in (BOOL, MASK) else named
    device = (type(target) is Const and isinstance(target.value, str)) or (
        type(target) is Term and target.op == "device"
    )
    return before if device else None


def _is_image(value: Value | None) -> bool:
    return type(value) is Term and value.op == "image"


def of_call(name: str) -> str | None:
    """The element type of what a library function returns."""
    return UINT8 if name in _IMAGES else None
