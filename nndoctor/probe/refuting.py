"""Figures that contradict a finding of the scan: what it fears was measured, and is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nndoctor.findings import Figure, ProbeResult

Figures = Mapping[str, Figure]

# Dropout in front of a batch norm multiplies its variance by 1.0 in healthy models; NDP10 reports it beyond 2.
ORDINARY_SHIFT = 1.2
# Loss with running statistics by that with those of the batch: 0.92 to 1.08 in healthy models; NDP10 reports 1.3.
ORDINARY_GAP = 1.1
# Influence between examples, or of later steps: exactly 0 in healthy models but for rounding; reported beyond 1e-4.
NO_INFLUENCE = 1e-6
# What the first layer is given: means of -0.5 to 0.5 and deviations of 0.5 to 1.5 in healthy models.
ORDINARY_MEAN = 1.0
ORDINARY_DEVIATION = (0.4, 2.5)


def refutation(code: str, results: Mapping[str, ProbeResult]) -> str | None:
    """What was measured against a finding of the rule `code`, a clause that names the probe; None for no answer."""
    if code not in REFUTATIONS:
        return None
    probe, contradiction = REFUTATIONS[code]
    result = results.get(probe)
    if result is None:
        return None
    said = contradiction(result.measurements)
    return said and f"{probe} {result.name} measured {said}"


def _number(figures: Figures, name: str) -> float | None:
    value = figures.get(name)
    return value if isinstance(value, float) else None


def _no_variance_shift(figures: Figures) -> str | None:
    shift = _number(figures, "variance with dropout by that without")
    if shift is None or shift > ORDINARY_SHIFT:
        return None
    return f"{shift:.3g} times the variance in front of the batch norms with dropout as without"


def _no_gap(figures: Figures) -> str | None:
    running, batch = (_number(figures, f"loss with {kind} statistics") for kind in ("running", "batch"))
    if running is None or batch is None or running > ORDINARY_GAP * batch:
        return None
    return f"a loss of {running:.4g} with the running statistics and {batch:.4g} with those of the batch"


def _free_outputs(figures: Figures) -> str | None:
    return "outputs that no activation confines" if figures.get("range of the outputs") == "free" else None


def _all_reached(figures: Figures) -> str | None:
    total, frozen = figures.get("parameters"), figures.get("frozen")
    if not isinstance(total, int) or not isinstance(frozen, int) or figures.get("with a gradient") != total - frozen:
        return None
    return f"a gradient at each of the {total - frozen} trainable parameters"


def _nothing_dropped(figures: Figures) -> str | None:
    return "the same outputs in two runs in eval mode" if figures.get("drops in eval mode") is False else None


def _no_future(figures: Figures) -> str | None:
    future = _number(figures, "influence of the future")
    if future is None or future > NO_INFLUENCE or figures.get("target") != "the next input":
        return None
    return f"an influence of {future:.1g} of later steps on the outputs"


def _own_examples(figures: Figures) -> str | None:
    influence = _number(figures, "off_diagonal")
    if influence is None or influence > NO_INFLUENCE:
        return None
    return f"an influence of {influence:.1g} of other examples on an output"


def _scaled(figures: Figures) -> str | None:
    mean, deviation = (_number(figures, name) for name in ("mean input", "deviation of the inputs"))
    low, high = ORDINARY_DEVIATION
    if mean is None or deviation is None or abs(mean) > ORDINARY_MEAN or not low <= deviation <= high:
        return None
    return f"inputs of {mean:.2g} ± {deviation:.2g} at the first layer"


def _shifted(figures: Figures) -> str | None:
    return "targets that are the next input" if figures.get("target") == "the next input" else None


def _smaller_batches_run(figures: Figures) -> str | None:
    if figures.get("smaller batches fail") is not False:
        return None
    return f"the same number of dimensions for batches of {figures['batch']} and of 1"


REFUTATIONS: Mapping[str, tuple[str, Callable[[Figures], str | None]]] = {
    "ND101": ("NDP03", _free_outputs),
    "ND103": ("NDP03", _free_outputs),
    "ND107": ("NDP03", _free_outputs),
    "ND305": ("NDP08", _all_reached),
    "ND306": ("NDP10", _nothing_dropped),
    "ND402": ("NDP10", _no_variance_shift),
    "ND403": ("NDP10", _no_variance_shift),
    "ND409": ("NDP10", _no_gap),
    "ND415": ("NDP05", _no_future),
    "ND418": ("NDP04", _own_examples),
    "ND502": ("NDP04", _own_examples),
    "ND503": ("NDP20", _smaller_batches_run),
    "ND504": ("NDP04", _own_examples),
    "ND608": ("NDP11", _scaled),
    "ND610": ("NDP05", _shifted),
}
"""By the code of the rule: the probe that can answer it, and what its figures say."""
