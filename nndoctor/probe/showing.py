"""What a page shows of the first batch as the network is given it: pictures, signals, tables, token ids."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nndoctor.exhibits import Exhibit, Signals, Table, Tokens
from nndoctor.probe.batch import batch_index, leaves
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.criteria import is_integer
from nndoctor.probe.entrypoint import call_factory, load
from nndoctor.probe.errors import EntrypointError
from nndoctor.probe.filters import show_filters
from nndoctor.probe.pictures import as_pictures, shrunk_signal
from nndoctor.probe.splitting import input_names
from nndoctor.probe.subject import Subject

EXAMPLES = 8
TOKENS = 64
COLUMNS = 12  # of a table; an example of more numbers is drawn as a line
CHANNELS = 8  # of a signal; a matrix that is wider both ways is a picture
LINES = 4  # of them are drawn
PIECE = 24  # characters of a decoded token

Decode = Callable[[int], str]


def find_decoder(text: str | None) -> Decode | None:
    """What the tokenizer that an entrypoint names makes of a token id; raises EntrypointError if it has no decode."""
    if text is None:
        return None
    value = load(text)
    if isinstance(value, type) or (callable(value) and not hasattr(value, "decode")):
        value = call_factory(value, text)
    if not callable(getattr(value, "decode", None)):
        raise EntrypointError(
            f"`{text}` gives an object of type {type(value).__name__}, which has no `decode`: a tokenizer must have "
            "one that turns a list of token ids into text"
        )
    return lambda token: str(value.decode([token]))


def shown(subject: Subject, decode: Decode | None) -> tuple[tuple[Exhibit, ...], tuple[Exhibit, ...]]:
    """The batch and the filters of the first layer; nothing where tensors are of a kind that cannot be drawn."""
    with subject.sandbox():
        return _drawn(lambda: show_batch(subject, decode)), _drawn(lambda: show_filters(subject))


def _drawn(show: Callable[[], tuple[Exhibit, ...]]) -> tuple[Exhibit, ...]:
    try:
        return show()
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, AttributeError, KeyError):
        return ()  # tensors may be of any subclass and layout, and a picture of them is not worth a check-up


def show_batch(subject: Subject, decode: Decode | None = None) -> tuple[Exhibit, ...]:
    """Each tensor that the model or the loss is given; labels stand below the examples that they belong to."""
    batch = subject.batches.first(1)[0]
    sizes = likely_sizes(batch, subject.batches.size)
    if not sizes:
        return ()
    split = subject.split(batch)
    names = input_names(subject.model, split.args, split.kwargs)
    inputs = dict(zip(names, (tensor for _, tensor in leaves((split.args, split.kwargs))), strict=True))
    given = {id(tensor) for tensor in inputs.values()}
    targets = {f"target {path}".strip(): tensor for path, tensor in leaves(split.targets) if id(tensor) not in given}
    labels: tuple[str, ...] = ()
    for name, tensor in [*targets.items()]:
        if not labels and tensor.shape[:1] == (sizes[0],) and tensor.numel() == sizes[0]:
            labels = _labels(targets.pop(name))
    made = [_exhibit(name, tensor, sizes[0], labels, decode) for name, tensor in {**inputs, **targets}.items()]
    return tuple(exhibit for exhibit in made if exhibit)


def _labels(targets: Tensor) -> tuple[str, ...]:
    """One for each of the first examples."""
    values = targets.flatten()[:EXAMPLES].tolist()
    if is_integer(targets):
        return tuple(f"label {value}" for value in values)
    return tuple(f"target {value:.4g}" for value in values)


def _exhibit(title: str, tensor: Tensor, size: int, labels: tuple[str, ...], decode: Decode | None) -> Exhibit | None:
    """A few examples of a tensor; None for what examples share and for what cannot be drawn."""
    shape = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
    if tensor.layout is not torch.strided or tensor.is_complex() or size not in tensor.shape[:2]:
        return None
    rows = tensor.detach()[batch_index(tensor, size, slice(0, EXAMPLES))].cpu()
    if tensor.shape[0] != size:
        rows = rows.movedim(1, 0)
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim == 2 and rows.shape[1] > 1 and not rows.is_floating_point():
        return _tokens(title, shape, rows.long(), labels, decode)
    if rows.ndim == 2 and rows.shape[1] <= COLUMNS:
        return Table(title, shape, _figures(rows), labels)
    if rows.ndim == 2:
        return _signals(title, shape, rows[:, None], labels)
    if rows.ndim == 3 and rows.is_floating_point() and min(rows.shape[1:]) <= CHANNELS:
        return _signals(title, shape, rows if rows.shape[1] <= rows.shape[2] else rows.transpose(1, 2), labels)
    return as_pictures(title, shape, rows, labels)


def _tokens(title: str, shape: str, rows: Tensor, labels: tuple[str, ...], decode: Decode | None) -> Tokens:
    shown = rows[:, :TOKENS]
    left_out = f", the first {TOKENS} of each" if rows.shape[1] > TOKENS else ""
    ids = tuple(map(tuple, shown.tolist()))
    is_text = decode is not None and int(shown.max()) > 1  # and no mask
    pieces = tuple(tuple(map(partial(_piece, decode), row)) for row in ids) if decode and is_text else ()
    return Tokens(title, shape + left_out, ids, pieces, labels)


def _piece(decode: Decode, token: int) -> str:
    try:
        return decode(token)[:PIECE]
    except Exception:  # padding such as -100, which a tokenizer does not know
        return ""


def _signals(title: str, shape: str, rows: Tensor, labels: tuple[str, ...]) -> Signals:
    """`rows` is (example, channel, value)."""
    drawn = rows[:, :LINES]
    left_out = f", {LINES} of {rows.shape[1]} channels" if rows.shape[1] > LINES else ""
    return Signals(title, shape + left_out, tuple(_figures(shrunk_signal(example)) for example in drawn), labels)


def _figures(rows: Tensor) -> tuple[tuple[float, ...], ...]:
    """In four digits, which is more than can be seen."""
    return tuple(tuple(float(f"{value:.4g}") for value in row) for row in rows.tolist())
