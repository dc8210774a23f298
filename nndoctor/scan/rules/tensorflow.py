"""Batch norm in TensorFlow 1, whose three traps scripts carry along: statistics that nothing updates."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const

_ROOTS = ("tensorflow", "tensorflow.compat.v1")
_RAW = tuple(f"{root}.nn.batch_normalization" for root in _ROOTS)
_LAYERS = tuple(
    f"{root}.{name}" for root in _ROOTS for name in ("layers.batch_normalization", "contrib.layers.batch_norm")
)
_AVERAGES = tuple(f"{root}.train.ExponentialMovingAverage" for root in _ROOTS)
_TRAINING = ("training", "is_training")


@rule("ND708")
def tensorflow_batchnorm(program: Program) -> Iterator[Draft]:
    averaged = next(program.calls(*_AVERAGES), None) is not None
    for event in program.calls(*_RAW):
        if not averaged:
            message = "`tf.nn.batch_normalization` keeps no running statistics: evaluation uses those of its own batch"
            yield Draft("ND708", event.site, message)
    updated = _runs_updates(program)
    for event in program.calls(*_LAYERS):
        args = event.details["args"]
        reuse = args.keywords.get("reuse")
        if type(reuse) is Const and reuse.value is True:
            message = "`reuse=True` shares running statistics between streams of other distributions"
            yield Draft("ND708", event.site, message)
        elif not updated and _trains(event) and not _updates_itself(event):
            yield Draft("ND708", event.site, "nothing runs the update operations of this batch norm")


def _runs_updates(program: Program) -> bool:
    """Whether the collection of update operations is asked for, as it must be to run them."""
    return next(program.calls(*(f"{root}.get_collection" for root in _ROOTS)), None) is not None


def _trains(event: Event) -> bool:
    values = (event.details["args"].keywords.get(name) for name in _TRAINING)
    return any(value is not None and not (type(value) is Const and not value.value) for value in values)


def _updates_itself(event: Event) -> bool:
    """`updates_collections=None` updates in place."""
    args = event.details["args"]
    updates = args.keywords.get("updates_collections")
    return args.open or (type(updates) is Const and updates.value is None)
