"""Element types: which operations make bytes and which make floats; where bytes can overflow, the operators say."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Api, Const, Term, Value

UINT8, FLOAT, INT, BOOL, MASK = "uint8", "float", "int", "bool", "mask"  # mask: bytes that are 0 or 1

_FLOATS = ("float", "float16", "float32", "float64", "half", "double", "bfloat16", "single")
_INTEGERS = ("long", "int", "int16", "int32", "int64", "short")
_NAMES = {
    **{f"{module}.{name}": FLOAT for module in ("torch", "numpy") for name in _FLOATS},
    **{f"{module}.{name}": INT for module in ("torch", "numpy") for name in _INTEGERS},
    "torch.uint8": UINT8,
    "numpy.uint8": UINT8,
    "torch.bool": BOOL,
    "numpy.bool_": BOOL,
    "builtins.float": FLOAT,
    "builtins.int": INT,
    "builtins.bool": BOOL,
}
_STRINGS = {
    "uint8": UINT8,
    "bool": BOOL,
    **dict.fromkeys(("float", "float16", "float32", "float64"), FLOAT),
    **dict.fromkeys(("int", "int16", "int32", "int64"), INT),
}
_MADE = {
    **dict.fromkeys(("float", "double", "half", "bfloat16", "float16", "float32", "float64"), FLOAT),
    **dict.fromkeys(("long", "int16", "int32", "int64"), INT),
    "bool": BOOL,
}
_BOOL_OPS = frozenset("eq ne gt lt ge le isnan isinf isfinite logical_and logical_or logical_not any all equal".split())
_FLOAT_OPS = frozenset(
    """linear conv softmax log_softmax sigmoid tanh batchnorm norm vector_norm exp log sqrt mean std var rand randn
    normal embedding""".split()
)
_KEEPING = (
    torch_api.TRANSPARENT
    | {"max", "min", "amax", "amin", "abs", "relu", "pad", "upsample", "sort", "topk"}
    | {"rearrange", "einops_repeat"}
)
_FROM_DATA = frozenset({"from_numpy", "array", "asarray", "as_tensor", "tensor", "frombuffer", "ascontiguousarray"})
_FILLED = frozenset({"zeros", "ones", "zeros_like", "ones_like", "eye", "full", "empty", "empty_like"})
_BINARY = 2  # randint below it gives 0 and 1


def of_operation(run: Machine, op: str, first: Value | None, args: Any) -> str | None:
    """The element type of a result, where it is known."""
    named = args.keywords.get("dtype")
    if named is not None:
        return _asked_for(run, named, op, args)
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
        return _cast(run, op, before, args)
    if op in _FROM_DATA or op in _FILLED:
        return _from_data(run, op, first, args)
    if op == "clamp" and any(type(bound) is Const and isinstance(bound.value, float) for bound in args.all):
        return FLOAT
    return before if op in _KEEPING else None


def _asked_for(run: Machine, named: Value, op: str, args: Any) -> str | None:
    """The element type of an argument `dtype`; buffers and coin flips of bytes hold 0 and 1."""
    found = of_name(run.resolve(named))
    if found != UINT8:
        return found
    numbers = [v.value for v in map(run.resolve, args.positional) if type(v) is Const and type(v.value) is int]
    coin = op == "randint" and bool(numbers) and max(numbers) <= _BINARY
    return MASK if coin or op in _FILLED else UINT8


def of_name(value: Value) -> str | None:
    """The element type that a value names."""
    if type(value) is Api:
        return _NAMES.get(value.name)
    return _STRINGS.get(value.value) if type(value) is Const and isinstance(value.value, str) else None


def _from_data(run: Machine, op: str, first: Value | None, args: Any) -> str | None:
    """numpy takes the type as its second argument too: `np.array(image, np.float32)`."""
    for value in args.positional[1:]:
        if type(value) is Api:
            return _asked_for(run, value, op, args)
    if op in _FILLED:
        return first.dtype if op.endswith("_like") and type(first) is Term else None
    if type(first) is not Term:
        return None
    return UINT8 if first.op == IMAGE and op != "tensor" else first.dtype


def store(buffer: Term, value: Value) -> None:
    """`buffer[...] = value`: bytes of a new buffer are no longer just 0 and 1."""
    if buffer.dtype != MASK:
        return
    large = type(value) is Const and type(value.value) is int and value.value > 1
    if large or (type(value) is Term and value.dtype == UINT8):
        buffer.dtype = UINT8


def _cast(run: Machine, op: str, before: str | None, args: Any) -> str | None:
    """`x.to(device)`, `x.to(dtype)`, `x.to(device, dtype)`, `x.astype(dtype)`."""
    targets = [run.resolve(value) for value in args.positional[1:]]
    for target in targets:
        if type(target) is Api or (op == "type" and type(target) is Const):
            named = of_name(target)
            return MASK if named == UINT8 and before in (BOOL, MASK) else named
    return before if op == "to" and all(_is_device(target) for target in targets) else None


def _is_device(value: Value) -> bool:
    if type(value) is Const:
        return True
    if type(value) is not Term:
        return False
    last = value.inputs[-1] if value.inputs else None
    return value.op == "device" or (isinstance(last, str) and "device" in last)


# Images

IMAGE = "image"  # the operation of what PIL opened
_LOADERS = frozenset(
    """cv2.imread cv2.imdecode imageio.imread imageio.v2.imread imageio.v3.imread skimage.io.imread
    torchvision.io.read_image torchvision.io.image.read_image torchvision.io.decode_image torchvision.io.decode_jpeg
    torchvision.io.decode_png torchvision.transforms.functional.pil_to_tensor""".split()
)
# They give what they are given; sums and differences of OpenCV stop at 0 and 255.
_KEEPING_CALLS = frozenset(
    f"cv2.{name}"
    for name in """cvtColor resize absdiff add subtract addWeighted flip rotate warpAffine warpPerspective remap blur
    GaussianBlur medianBlur bilateralFilter erode dilate morphologyEx copyMakeBorder equalizeHist bitwise_not""".split()
)
_EIGHT_BITS = frozenset({"cv2.IMREAD_COLOR", "cv2.IMREAD_GRAYSCALE", "cv2.IMREAD_COLOR_RGB"})
_NOT_BYTES = frozenset({"F", "I", "I;16", "1"})  # modes of PIL


def of_call(run: Machine, name: str, args: Any) -> str | None:
    """The element type of what a library function returns."""
    if name in _LOADERS:
        return UINT8 if _loads_bytes(run, name, args) else None
    if name in _KEEPING_CALLS and args.positional:
        first = run.resolve(args.positional[0])
        return first.dtype if type(first) is Term and "dtype" not in args.keywords else None
    return None


def _loads_bytes(run: Machine, name: str, args: Any) -> bool:
    """Images are loaded as bytes, unless an option asks for something else."""
    if not name.startswith("cv2."):
        return not any(option in args.keywords for option in ("as_gray", "plugin", "mode", "dtype"))
    flag = run.resolve(args.get(1, "flags")) if len(args.all) > 1 else None
    if type(flag) is Const:
        return flag.value in (0, 1)
    return flag is None or (type(flag) is Api and flag.name in _EIGHT_BITS)


def is_byte_image(run: Machine, name: str, args: Any) -> bool:
    """Whether what a method of a PIL image returns is again an image of bytes."""
    if name == "convert":
        mode = run.resolve(args.get(0, "mode") or Const(None))
        return type(mode) is Const and mode.value not in _NOT_BYTES
    return name in _IMAGE_METHODS


_IMAGE_METHODS = frozenset("resize crop rotate transpose filter copy quantize reduce point".split())
