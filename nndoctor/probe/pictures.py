"""Tensors as pictures of bytes and as short signals: scaled, shrunk, and saying what stands for what."""

from __future__ import annotations

import base64

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nndoctor.exhibits import Pictures

SIDE = 64  # pixels of a picture
POINTS = 128  # of a signal
COLOURS = (1, 3)  # channels of a picture
NOT_FINITE = (255, 0, 255)


def as_pictures(title: str, shape: str, rows: Tensor, labels: tuple[str, ...]) -> Pictures | None:
    """Each of the rows (example, ...) as a picture, None if they have too many or too few dimensions."""
    flat = _channels_first(rows)
    if flat is None or not flat[0].numel():
        return None
    values, remark = flat
    low, high = _range(values)
    caption = f"{shape}{remark}; {low:.3g} is black, {high:.3g} is white"
    return paint(title, caption, values, (low, high), labels)


def paint(
    title: str, caption: str, values: Tensor, limits: tuple[float, float], labels: tuple[str, ...] = ()
) -> Pictures:
    """Pictures of (example, 1 or 3, height, width), with the lower limit black; what is not finite is magenta."""
    low, high = limits
    small = _shrunk(values)
    scaled = (small.float() - low) / max(high - low, 1e-12) * 255
    broken = ~scaled.isfinite().all(dim=1, keepdim=True)
    pixels = scaled.nan_to_num(0, 0, 0).round().clamp(0, 255).to(torch.uint8)
    if broken.any():
        caption += "; what is not finite is magenta"
        colour = torch.tensor(NOT_FINITE, dtype=torch.uint8)[None, :, None, None]
        pixels = torch.where(broken, colour, pixels.expand(-1, 3, -1, -1))
    count, channels, height, width = pixels.shape
    if small.shape != values.shape:
        caption += f"; shown in {width} by {height} pixels"
    data = (bytes(picture.flatten().tolist()) for picture in pixels.permute(0, 2, 3, 1))
    encoded = tuple(base64.b64encode(picture).decode("ascii") for picture in data)
    return Pictures(title, caption, width, height, channels, encoded, labels[:count])


def shrunk_signal(channels: Tensor) -> Tensor:
    """Of a long signal (channel, value) the least and the greatest value of each of many equal stretches."""
    if channels.shape[1] <= POINTS:
        return channels
    stretches = channels.tensor_split(POINTS // 2, dim=1)
    return torch.stack([end for part in stretches for end in (part.amin(dim=1), part.amax(dim=1))], dim=1)


def _channels_first(rows: Tensor) -> tuple[Tensor, str] | None:
    """As (example, 1 or 3, height, width), with what was left out."""
    if rows.ndim == 3:
        return rows[:, None], ""
    if rows.ndim == 5:
        time = 2 if rows.shape[1] in COLOURS else 1
        one = _channels_first(rows.select(time, 0))
        return one and (one[0], f", frame 0 of {rows.shape[time]}{one[1]}")
    if rows.ndim != 4:
        return None
    if rows.shape[1] in COLOURS:
        return rows, ""
    if rows.shape[3] in COLOURS:
        return rows.movedim(3, 1), ""
    return rows[:, :1], f", channel 0 of {rows.shape[1]}"


def _range(values: Tensor) -> tuple[float, float]:
    """What is black and what is white: the limits of pixels where the values look like pixels, else the extremes."""
    if values.dtype is torch.uint8:
        return 0.0, 255.0
    finite = values[values.isfinite()].float()
    if not finite.numel():
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (0.0, 1.0) if values.is_floating_point() and low >= 0 and 0.5 < high <= 1 else (low, high)


def _shrunk(values: Tensor) -> Tensor:
    """To at most SIDE pixels either way; averages, but of classes and bits the nearest."""
    height, width = values.shape[2:]
    share = SIDE / max(height, width)
    if share >= 1:
        return values
    size = (max(round(height * share), 1), max(round(width * share), 1))
    averaged = values.is_floating_point() or values.dtype is torch.uint8
    return interpolate(values.float(), size, mode="area" if averaged else "nearest")
