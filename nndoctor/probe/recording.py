"""Recording: what every torch operation of a call returned, as checksums, and the user's line that asked for it."""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakIdKeyDictionary

import nndoctor
from nndoctor.findings import Location
from nndoctor.probe.batch import tensors
from nndoctor.probe.blame import is_user_file, location_of

# Elements of a result that are kept. All of a small tensor, a fixed random choice of a large one: a thousand
# operations then take 16 MB, and a change of one element in a thousand is still seen.
SAMPLE = 4096
# What these return is whatever was in memory, which says nothing.
UNINITIALISED = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"})


@dataclass(frozen=True, slots=True, eq=False)
class Imprint:
    """What is kept of a tensor: `sample` holds the bits of the elements at `positions(numel)`, as integers."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    checksum: int  # of all elements
    sample: Tensor  # (k,) on the CPU; empty for a tensor whose elements cannot be read (meta, vmap)
    finite: bool
    requires_grad: bool


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One call of a torch function that returned or changed tensors."""

    index: int
    name: str  # "softmax", "view", "__getitem__"
    module: str  # dotted path of the module whose forward made the call, empty for the model itself
    location: Location | None  # innermost frame in the user's code, else outside torch; none inside torch alone
    inputs: tuple[int, ...]  # the operations whose results it read
    input_shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[Imprint, ...]

    @property
    def call(self) -> tuple[object, ...]:
        """What the operations of two runs share if they are the same call."""
        return self.name, self.location, len(self.outputs)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The operations of one call in order, and what the call returned."""

    operations: tuple[Operation, ...]
    returned: tuple[Imprint, ...]
    sources: tuple[tuple[int, ...], ...]  # for each returned tensor the operations that made it


class Departure(str, Enum):
    """How two recordings part."""

    VALUES = "values"
    SHAPES = "shapes"
    PATH = "path"  # another operation follows: the control flow depends on the data


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The first operation in which two recordings differ; None once one of them has ended."""

    kind: Departure
    first: Operation | None
    second: Operation | None


def record(call: Callable[[], Sequence[Tensor]], model: nn.Module | None = None) -> Recording:
    """Run `call` and record its operations; `model` gives modules their names. Random numbers are left alone."""
    recorder = _Recorder()
    with eager(), module_paths(model or nn.Module(), recorder.modules), recorder:
        returned = call()
    sources = tuple(recorder.sources(tensor) for tensor in returned)
    return Recording(tuple(recorder.operations), tuple(map(imprint, returned)), sources)


def compare(first: Recording, second: Recording) -> Difference | None:
    """The first operation that differs, None if all returned the same bits."""
    for one, other in itertools.zip_longest(first.operations, second.operations):
        kind = _departure(one, other)
        if kind:
            return Difference(kind, one, other)
    return None


def _departure(one: Operation | None, other: Operation | None) -> Departure | None:
    if one is None or other is None or (one.name, one.location) != (other.name, other.location):
        return Departure.PATH
    if [result.shape for result in one.outputs] != [result.shape for result in other.outputs]:
        return Departure.SHAPES
    same = all(map(_same_bits, one.outputs, other.outputs))
    return None if same else Departure.VALUES


def _same_bits(one: Imprint, other: Imprint) -> bool:
    return one.checksum == other.checksum and torch.equal(one.sample, other.sample)


def changed(one: Imprint, other: Imprint) -> Tensor:
    """Which elements of the sample differ in their bits, so that NaN equals NaN: (k,), of imprints of one shape."""
    return one.sample != other.sample


# ------------------------------------------------------------------------------------------------- imprints


@torch.no_grad()
def imprint(tensor: Tensor) -> Imprint:
    """Sample and checksum of a tensor on any device."""
    try:
        values = tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()
        finite = _is_finite(values)
        values = values.to(torch.complex64) if values.is_complex() else values
        bits = values.view(_INTEGERS[values.element_size()])
        checksum = _checksum(bits)
        sample = _pick(bits, tuple(tensor.shape)).cpu()
    except RuntimeError:  # no elements to read: a meta tensor, a tensor inside vmap
        return _blank(tensor)
    return Imprint(tuple(tensor.shape), tensor.dtype, checksum, sample, finite, tensor.requires_grad)


def _is_finite(values: Tensor) -> bool:
    """NaN and infinity never leave a sum; only one that overflows needs the slower look at each element."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def _checksum(bits: Tensor) -> int:
    """The wrapping sum of the memory in words of 8 bytes where that is possible: twenty times faster."""
    size = bits.element_size()
    if bits.is_contiguous() and bits.numel() * size % 8 == 0 and bits.storage_offset() * size % 8 == 0:
        return int(bits.view(-1).view(torch.int64).sum())
    return int(bits.sum(dtype=torch.int64))


def _blank(tensor: Tensor) -> Imprint:
    """The imprint of a tensor of whose elements nothing is kept."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return Imprint(tuple(tensor.shape), tensor.dtype, 0, nothing, True, tensor.requires_grad)


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _pick(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    if bits.numel() <= SAMPLE:
        return bits.reshape(-1).clone()
    return bits[torch.unravel_index(positions(bits.numel()).to(bits.device), shape)]


@functools.lru_cache(maxsize=256)
def positions(numel: int) -> Tensor:
    """Flat positions of the elements that are kept of a tensor of `numel` elements: ascending, always the same."""
    if numel <= SAMPLE:
        return torch.arange(numel)
    choice = torch.randint(numel, (SAMPLE,), generator=torch.Generator().manual_seed(numel))
    return choice.sort().values


# ------------------------------------------------------------------------------------------------- the mode


class _Recorder(TorchFunctionMode):
    """Sees each torch function that Python code calls, at the granularity in which it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.modules: list[str] = []
        self._producer: Any = WeakIdKeyDictionary()  # tensor -> index of the operation that returned it
        self._writers: dict[int, list[int]] = {}  # address of a storage -> operations that filled or changed it

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = tensors([args, kwargs])
        before = [_version(tensor) for tensor in read]
        result = func(*args, **kwargs)
        written = [tensor for tensor, version in zip(read, before, strict=True) if _version(tensor) != version]
        made = [tensor for tensor in tensors(result) if all(tensor is not other for other in read)]
        if made or written:
            self._note(short_name(func), read, written, made)
        return result

    def _note(self, name: str, read: list[Tensor], written: list[Tensor], made: list[Tensor]) -> None:
        operation = Operation(
            index=len(self.operations),
            name=name,
            module=self.modules[-1] if self.modules else "",
            location=calling_line(sys._getframe(2)),
            inputs=tuple(sorted({index for tensor in read for index in self.sources(tensor)})),
            input_shapes=tuple(tuple(tensor.shape) for tensor in read),
            outputs=tuple(_blank(tensor) if name in UNINITIALISED else imprint(tensor) for tensor in written + made),
        )
        self.operations.append(operation)
        addresses = {_address(tensor) for tensor in read}
        for tensor in written:
            self._writers.setdefault(_address(tensor), []).append(operation.index)
        for tensor in made:
            self._producer[tensor] = operation.index
            if _address(tensor) not in addresses:
                self._writers[_address(tensor)] = [operation.index]

    def sources(self, tensor: Tensor) -> tuple[int, ...]:
        """The operation that returned the tensor, and those that later wrote to its memory, also through views."""
        producer = self._producer.get(tensor, -1)
        writers = [index for index in self._writers.get(_address(tensor), ()) if index > producer]
        return tuple(([producer] if producer >= 0 else []) + writers)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _address(tensor: Tensor) -> int:
    """Where the memory of a tensor begins; its identity, negative so as not to be an address, if it has none."""
    try:
        return tensor.untyped_storage().data_ptr() or -id(tensor)
    except (RuntimeError, NotImplementedError):
        return -id(tensor)


@functools.lru_cache(maxsize=1024)
def short_name(function: Callable[..., Any]) -> str:
    """The name that a user writes: `softmax` for torch.nn.functional.softmax, `T` for the property."""
    full = resolve_name(function) or getattr(function, "__name__", type(function).__name__)
    return str(full).removesuffix(".__get__").removesuffix(".__set__").rpartition(".")[2]


@contextmanager
def module_paths(model: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep in `path` the names of the modules whose forward is running."""

    def enter(name: str, *_: Any) -> None:
        path.append(name)

    def leave(*_: Any) -> None:
        path.pop()

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(functools.partial(enter, name)))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled modules as they are written: compiled code shows no operations to a mode."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):  # torch < 2.6
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


# ------------------------------------------------------------------------------------------------- the line

_SKIPPED = tuple(str(Path(package.__file__ or "").parent) + os.sep for package in (torch, nndoctor))


def calling_line(frame: FrameType | None, top: Callable[..., Any] | None = None) -> Location | None:
    """The innermost line of the user's code on the stack, or else of a library, below `top` (or `record`)."""
    library, end = None, (top or record).__code__
    while frame is not None and frame.f_code is not end:
        file = frame.f_code.co_filename
        if not file.startswith(_SKIPPED) and not file.startswith("<"):
            if _is_user_file(file):
                return _location_in(frame)
            library = library or frame
        frame = frame.f_back
    return _location_in(library) if library else None


_is_user_file = functools.cache(is_user_file)


def _location_in(frame: FrameType) -> Location:
    """The file belongs to the key of the cache: code objects of two files with the same text are equal."""
    return _location(frame.f_code.co_filename, frame.f_code, frame.f_lasti, frame.f_lineno)


@functools.lru_cache(maxsize=4096)
def _location(filename: str, code: CodeType, instruction: int, line: int) -> Location:
    place = location_of(filename, line)
    if sys.version_info < (3, 11):
        return place
    start, end, left, right = next(itertools.islice(code.co_positions(), instruction // 2, None))
    if start is None or end is None or left is None or right is None:
        return place
    columns = _column(code, start, left), _column(code, end, right)
    return replace(place, line=start, column=columns[0], end_line=end, end_column=columns[1])


def _column(code: CodeType, line: int, offset: int) -> int:
    """A column counted from 1 in characters, from an offset in bytes."""
    text = linecache.getline(code.co_filename, line).encode()
    return len(text[:offset].decode(errors="replace")) + 1
