"""Attention weights: along which dimension they were made to sum to 1, and along which they are then summed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nndoctor.findings import Location
from nndoctor.probe.recording import calling_line, eager, module_paths, short_name

# Operations that leave the weights where they are.
KEEPING = frozenset({"dropout", "masked_fill", "nan_to_num", "to", "type_as", "float", "contiguous", "clone"})
PRODUCTS = frozenset({"matmul", "bmm", "__matmul__"})


@dataclass(frozen=True, slots=True)
class Softmax:
    """A softmax over another dimension than the one in which its result is summed."""

    dim: int  # counted from 0
    shape: tuple[int, ...]
    module: str
    location: Location | None


def misnormalised(run: Callable[[], Any], model: nn.Module) -> Softmax | None:
    """The first softmax of square scores whose weights a matrix product sums over the keys and that went elsewhere.

    Only square scores, queries by keys: weights that are shared out among slots or clusters are seldom square.
    """
    watch = _Watch()
    with eager(), torch.no_grad(), module_paths(model, watch.modules), watch:
        run()
    return watch.found


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.modules: list[str] = []
        self.found: Softmax | None = None
        self._weights: Any = WeakIdKeyDictionary()  # tensor -> the softmax that it comes from

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, given = short_name(func), args[0] if args else None
        if name == "softmax" and isinstance(result, Tensor):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            self._note(result, dim)
        elif name in KEEPING and isinstance(given, Tensor) and given in self._weights:
            self._weights[result] = self._weights[given]
        elif name in PRODUCTS and isinstance(given, Tensor) and given in self._weights:
            self.found = self.found or self._weights[given]
        return result

    def _note(self, weights: Tensor, dim: int | None) -> None:
        shape = tuple(weights.shape)
        square = len(shape) > 2 and shape[-1] == shape[-2] > 1
        if dim is None or not square or dim % len(shape) == len(shape) - 1:
            return
        place = calling_line(sys._getframe(2), top=misnormalised)
        module = self.modules[-1] if self.modules else ""
        self._weights[weights] = Softmax(dim % len(shape), shape, module, place)
