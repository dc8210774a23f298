"""The filters of the first layer, where they can be seen: of a convolution, or of a linear layer over pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nndoctor.exhibits import Exhibit, Signals
from nndoctor.probe.batch import tensors
from nndoctor.probe.pictures import COLOURS, paint
from nndoctor.probe.subject import Subject

FILTERS = 32
LINES = 4  # input channels of a filter of a signal


@torch.no_grad()
def show_filters(subject: Subject) -> tuple[Exhibit, ...]:
    """The weights of the layer that stands first in the model, before any training."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
    found = ((name, module) for name, module in subject.model.named_modules() if isinstance(module, kinds))
    name, layer = next(found, ("", None))
    match layer:
        case nn.Conv2d() if max(layer.kernel_size) > 1:
            return (_pictures(name, layer.weight.cpu().float(), layer.weight),)
        case nn.Conv1d() if max(layer.kernel_size) > 1:
            return (_signals(name, layer.weight.cpu().float()),)
        case nn.Linear() if shape := _pictures_of(subject, layer.in_features):
            weight = layer.weight.cpu().float().reshape(-1, *shape)
            return (_pictures(name, weight, layer.weight),)
    return ()


def _pictures(name: str, filters: Tensor, weight: Tensor) -> Exhibit:
    """`filters` is (filter, channel, height, width)."""
    channels = filters.shape[1]
    shown = filters[:FILTERS] if channels in COLOURS else filters[:FILTERS, :1]
    largest = float(shown.abs().max())
    remark = "" if channels in COLOURS else f", input channel 0 of {channels}"
    caption = (
        f"{_count(filters)} of {tuple(weight.shape)}{remark}; grey is 0, black {-largest:.3g}, white {largest:.3g}"
    )
    return paint(name or "the model", caption, shown, (-largest, largest))


def _signals(name: str, filters: Tensor) -> Exhibit:
    examples = tuple(tuple(map(tuple, one.tolist())) for one in filters[:FILTERS, :LINES])
    return Signals(name or "the model", f"{_count(filters)} of {tuple(filters.shape)}", examples)


def _count(filters: Tensor) -> str:
    return f"the first {FILTERS} filters" if len(filters) > FILTERS else "the filters"


def _pictures_of(subject: Subject, features: int) -> torch.Size | None:
    """The shape (channel, height, width) of the pictures of the batch, if they have so many values."""
    split = subject.split(subject.batches.first(1)[0])
    inputs = tensors((split.args, split.kwargs))
    shapes = (tensor.shape[1:] for tensor in inputs if tensor.ndim == 4 and tensor.shape[1] in COLOURS)
    return next((shape for shape in shapes if shape.numel() == features), None)
