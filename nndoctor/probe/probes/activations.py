"""NDP09: the untrained model passes on what it is given, forwards and backwards, and its units are alive."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from nndoctor.findings import Confidence, Figure, Finding, Location, Series
from nndoctor.probe.activity import LAYERS, RECTIFIERS, Reading, watch
from nndoctor.probe.attention import misnormalised
from nndoctor.probe.blame import source_line
from nndoctor.probe.bypass import Bare, watch_bare
from nndoctor.probe.effort import Effort
from nndoctor.probe.layers import place_of
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject
from nndoctor.thresholds import Threshold

DEAD = Threshold(
    "NDP09", "dead", 0.8, "Units that no example of the first batches opens: 0 to 11 % in healthy untrained layers."
)
FEWEST_UNITS = 8  # of a layer of fewer units, most may be closed by chance
SATURATED = Threshold(
    "NDP09",
    "saturated",
    0.5,
    "Units of a sigmoid or tanh with hardly any slope: 0 in healthy untrained layers, 0.66 with weights drawn "
    "from N(0, 1).",
)
EXPLODED = Threshold(
    "NDP09",
    "exploded",
    1e3,
    "Layers of healthy untrained models are at most 1.6 times as large as the first ones, and as what they are given.",
)
ORDINARY = 10.0  # their size is 0.01 to 3; what only brings faint inputs up to it explodes nothing
VANISHED = Threshold(
    "NDP09",
    "vanished",
    1e-6,
    "The gradient at the first layers by that at the last: 0.01 to 1.2 in healthy untrained models. A plain "
    "stack of layers as torch initialises them loses 0.6 of it a layer, so that ten keep 1e-4.",
)

GROWN = Threshold(
    "NDP09",
    "grown",
    4.0,
    "By what the layer in the middle multiplies the size of its input: 0.5 to 1.6 in healthy models with batch norm, "
    "0.14 with DCGAN's weights in a narrow model, 5 to 12 with weights drawn from N(0, 1).",
)
SHRUNK = Threshold("NDP09", "shrunk", 0.03, "The same on the other side: 0.01 with weights a hundred times too small.")
HIDDEN = Threshold(
    "NDP09",
    "hidden",
    1e3,
    "Without its batch norms the largest layer by the smallest of a model with such layers; below it they are too few "
    "to do harm.",
)


@probe("NDP09")
def activations(subject: Subject, effort: Effort) -> Outcome:
    """Sizes, dead and saturated units and gradients of all layers over the first batches, before any training."""
    batches = subject.batches.first(effort.batches)
    with subject.sandbox():
        readings = watch(subject, batches)
    layers = [reading for reading in readings if reading.is_layer]
    found = (
        next(_dead(subject, readings), None)
        or next(_saturated(subject, readings), None)
        or next(_exploding(subject, layers), None)
        or next(_over_the_wrong_dimension(subject), None)
        or next(_vanishing(subject, layers), None)
        or next(_constant(subject, readings), None)
    )
    with subject.sandbox():
        bare = watch_bare(subject, batches[0])
    if bare is not None and found is None:
        found = next(_hidden(subject, bare), None)
    return Outcome(
        summary=_summary(readings, layers),
        findings=(found,) if found else (),
        measurements=_figures(readings, layers) | _bare_figures(bare),
        series=_series(readings, layers),
        steps=len(batches) + (bare is not None),
    )


def _figures(readings: list[Reading], layers: list[Reading]) -> dict[str, Figure]:
    return {
        "layers": len(layers),
        "largest share of dead units": max((each.dead for each in readings), default=0.0),
        "largest share of saturated units": max((each.saturated for each in readings), default=0.0),
        "largest layer by the first": _growth(layers),
        "gradient of the first layers by the last": _gradient_ratio(layers),
    }


def _bare_figures(bare: Bare | None) -> dict[str, Figure]:
    if bare is None:
        return {}
    return {
        "gain of a layer": bare.gain,
        "largest layer by the smallest, without batch norms": bare.spread,
    }


def _summary(readings: list[Reading], layers: list[Reading]) -> str:
    dead = max((each.dead for each in readings), default=0.0)
    ratio = _gradient_ratio(layers)
    text = f"{len(layers)} layers, {dead:.0%} of the units dead in the worst"
    return text if ratio is None else f"{text}; the gradient in front is {ratio:.2g} of that behind"


def _series(readings: list[Reading], layers: list[Reading]) -> Mapping[str, Series]:
    series = {}
    if layers:
        series["size"] = _by_layer(layers, [each.size for each in layers], "root mean square of the outputs")
        series["gradient"] = _by_layer(layers, [each.gradient or 0.0 for each in layers], "norm of the gradient")
    if rectifiers := [each for each in readings if each.units]:
        series["dead"] = _by_layer(rectifiers, [each.dead for each in rectifiers], "share of dead units")
    return series


def _by_layer(layers: list[Reading], values: list[float], label: str) -> Series:
    names = tuple(each.module or each.name for each in layers)
    return Series(tuple(values), label, x_label="layer, from input to output", names=names)


def _growth(layers: list[Reading]) -> float:
    """The largest layer by the largest of the first third."""
    sizes = [each.size for each in layers]
    first = max(sizes[: max(len(sizes) // 3, 1)], default=0.0)
    return max(sizes, default=0.0) / first if first else 0.0


def _gradient_ratio(layers: list[Reading]) -> float | None:
    """The gradient in the first third of the layers by that in the last; layers behind zeros have none."""
    gradients = [each.gradient for each in layers if each.gradient]
    third = max(len(gradients) // 3, 1)
    return max(gradients[:third]) / max(gradients[-third:]) if len(gradients) > 1 else None


def _finding(
    subject: Subject, reading: Reading, cause: str, message: str, treatment: str, place: Location | None = None
) -> Finding:
    location = place or reading.location
    line = source_line(location.path, location.line) if location else None
    return finding(
        "NDP09",
        message,
        treatment=treatment,
        confidence=Confidence.LIKELY,
        location=location or subject.location,
        source_line=line or subject.source_line,
        measurements={"cause": cause, "module": reading.module, "operation": reading.name},
    )


def _label(reading: Reading) -> str:
    """`relu` in `features.1`."""
    return f"`{reading.name}`" + (f" in `{reading.module}`" if reading.module else "")


def _dead(subject: Subject, readings: list[Reading]) -> Iterator[Finding]:
    for reading in readings:
        if reading.dead >= DEAD.value and reading.units >= FEWEST_UNITS:
            yield _finding(
                subject,
                reading,
                "dead units",
                f"{reading.dead:.0%} of the {reading.units} units of {_label(reading)} are zero for every example "
                "of the first batches: no gradient gets through them, and nothing opens them again",
                "Start the biases in front of it at zero and the weights with nn.init.kaiming_uniform_, and centre "
                "the inputs.",
            )


def _saturated(subject: Subject, readings: list[Reading]) -> Iterator[Finding]:
    for reading in readings:
        if reading.saturated >= SATURATED.value:
            yield _finding(
                subject,
                reading,
                "saturated units",
                f"{reading.saturated:.0%} of the outputs of {_label(reading)} are at its ends, where it has no "
                f"slope; what goes in has a size of {reading.input_size:.3g}",
                f"Make what goes in {max(reading.input_size, 1):.2g} times smaller: standardise the inputs, start the "
                "weights with nn.init.xavier_uniform_.",
            )


def _exploding(subject: Subject, layers: list[Reading]) -> Iterator[Finding]:
    grown = next((each for each in layers if each.growth > EXPLODED.value), None)
    if grown is None and _growth(layers) > EXPLODED.value:
        grown = max(layers, key=lambda each: each.size)
    if grown is None or grown.size <= ORDINARY:
        return
    factor = max(grown.growth, _growth(layers))
    yield _finding(
        subject,
        grown,
        "exploding",
        f"the outputs grow {factor:.2g} times on the way to `{grown.module or grown.name}`, to a size of "
        f"{grown.size:.2g}",
        "Start the weights smaller: nn.init.kaiming_uniform_ for layers, nn.init.orthogonal_ for recurrent weights, or "
        "normalise between the layers.",
    )


def _vanishing(subject: Subject, layers: list[Reading]) -> Iterator[Finding]:
    ratio = _gradient_ratio(layers)
    if ratio is None or ratio >= VANISHED.value:
        return
    first = next(each for each in layers if each.gradient)
    yield _finding(
        subject,
        first,
        "vanishing",
        f"the gradient at `{first.module}` is {ratio:.1g} of that at the last layers: the layers in front do not learn",
        "Put ReLU or GELU between the layers in place of sigmoid or tanh, start the weights with "
        "nn.init.kaiming_uniform_, and add residual connections or norms.",
        place_of(subject, first.module)[0],
    )


def _hidden(subject: Subject, bare: Bare) -> Iterator[Finding]:
    """Weights whose size a batch norm puts right; they learn at a rate that is off by its square."""
    if SHRUNK.value <= bare.gain <= GROWN.value or bare.spread <= HIDDEN.value:
        return
    grows = bare.gain > 1
    gain, reading = bare.gains[-1 if grows else 0]
    apart = "overflow" if math.isinf(bare.spread) else f"are up to {bare.spread:.1g} times apart in size"
    yield _finding(
        subject,
        reading,
        "weights hidden by batch norm",
        f"the batch norms hide weights that start too {'large' if grows else 'small'}: a layer multiplies the size of "
        f"its inputs by {bare.gain:.2g}, and without the norms the layers {apart}",
        f"Start the weights with nn.init.kaiming_normal_(weight, nonlinearity='relu'): those of `{reading.module}` are "
        f"{max(gain, 1 / gain):.3g} times too {'large' if grows else 'small'}, and with a batch norm behind them they "
        f"learn {'slower' if grows else 'faster'} by the square of it.",
    )


def _over_the_wrong_dimension(subject: Subject) -> Iterator[Finding]:
    """Attention whose weights are made to sum to 1 over the queries, the heads or the batch."""
    batch = subject.batches.first(1)[0]
    with subject.sandbox():
        subject.model.eval()
        found = misnormalised(lambda: subject.forward(subject.model, batch), subject.model)
    if found is None:
        return
    keys = len(found.shape) - 1
    where = f" in `{found.module}`" if found.module else ""
    place = found.location
    yield finding(
        "NDP09",
        f"the softmax{where} runs over dimension {found.dim} of scores {found.shape}, and its weights are then summed "
        f"over dimension {keys}: what a query gathers does not add up to 1",
        treatment=f"Take the softmax over the keys: dim=-1 in place of dim={found.dim}.",
        confidence=Confidence.LIKELY,
        location=place or subject.location,
        source_line=source_line(place.path, place.line) if place else subject.source_line,
        measurements={"cause": "softmax over the wrong dimension", "module": found.module, "dimension": found.dim},
    )


def _constant(subject: Subject, readings: list[Reading]) -> Iterator[Finding]:
    """Norms and activations that give every example the same; not layers, which may start at zero."""
    for reading in readings:
        closed = reading.name in RECTIFIERS and reading.is_zero  # judged by its dead units
        if reading.name not in LAYERS and reading.input_varies and not reading.varies and not closed:
            yield _finding(
                subject,
                reading,
                "constant",
                f"{_label(reading)} returns the same for every example, although what it is given differs",
                "Give it the dimension of the features: over a dimension of one element a norm returns its bias and a "
                "softmax 1.",
            )
