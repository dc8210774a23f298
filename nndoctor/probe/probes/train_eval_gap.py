"""NDP10: eval mode must compute what was trained: no dropout, statistics that fit, and a way back to train mode."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nndoctor.findings import Confidence, Figure, Finding, Location, Severity
from nndoctor.probe.blame import source_line
from nndoctor.probe.dynamics import STEPS, WATCHING_STEPS
from nndoctor.probe.effort import Effort
from nndoctor.probe.layers import enumerated, place_of
from nndoctor.probe.modes import Gap, Norm, active_norms, dropped_outputs, fit_and_compare, random_in_eval
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.thresholds import Threshold

TIME_SHARE = 0.5  # of the deadline
WORSE = Threshold(
    "NDP10",
    "worse",
    1.3,
    "Loss with running statistics by that with those of the batch: 0.92 to 1.08 in healthy models, up to 1.9 in "
    "a ResNet whose loss has fallen to 3 % of its start; 2.3 to 3.5 with a batch norm that is shared "
    "by inputs of different kinds.",
)
WORSE_BY = Threshold(
    "NDP10",
    "worse-by",
    0.05,
    "The difference by the loss before training must be as large too, so that a loss near zero is no reason.",
)
SHIFTED = Threshold(
    "NDP10",
    "shifted",
    2.0,
    "Dropout in front of a batch norm multiplies the variance that it sees: 1.0 in healthy models, 1.6 in "
    "wide residual nets with dropout 0.3 behind a ReLU, 2.4 with dropout 0.5.",
)
NO_ZEROS = Threshold("NDP10", "no-zeros", 0.01, "Outputs that are exactly zero: none in healthy models.")
# Operations that drop at random without being told the mode. Other chance in eval mode, as a sample, may be meant.
DROPS = re.compile(r"dropout|attention")


@probe("NDP10")
def train_eval_gap(subject: Subject, effort: Effort) -> Outcome:
    """Modes, chance in eval mode, and for models with batch norm a short fit and the losses with both statistics."""
    found = list(_modes(subject))
    with subject.sandbox():
        dropping = list(_chance(subject))
    with subject.sandbox():
        found += _on_outputs(subject)
    with subject.sandbox():
        has_norms = bool(active_norms(subject.model))
    gap: Gap | None = None
    norms: list[Norm] = []
    if has_norms and subject.objective:
        with subject.sandbox():
            gap, norms = fit_and_compare(subject, time.monotonic() + TIME_SHARE * effort.seconds)
        found += _statistics(subject, gap, norms)
    found += dropping
    return Outcome(
        summary=_summary(gap, norms, found),
        findings=tuple(found),
        measurements={**_figures(gap, norms), "drops in eval mode": bool(dropping)},
        steps=(STEPS + WATCHING_STEPS + 2 * len(subject.batches) if has_norms else 0) + 2,
    )


def _figures(gap: Gap | None, norms: list[Norm]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"batch norms": len(norms)}
    if gap:
        figures |= {"loss with running statistics": gap.running, "loss with batch statistics": gap.batch}
    if norms:
        figures["variance with dropout by that without"] = max(norm.shift for norm in norms)
    return figures


def _summary(gap: Gap | None, norms: list[Norm], found: list[Finding]) -> str:
    if gap:
        return (
            f"after {STEPS} steps the loss is {gap.running:.4g} with the running statistics of {len(norms)} batch "
            f"norms, {gap.batch:.4g} with those of the batch"
        )
    if found:
        return "eval mode is not what was trained"
    return "both modes can be set, eval mode drops nothing, and no batch norm gathers statistics"


# -------------------------------------------------------------------------------------------------------- modes


def _modes(subject: Subject) -> Iterator[Finding]:
    """Whether `train` and `eval` reach the model, and whether a forward leaves it in its mode."""
    if not _depends_on_mode(subject.model):
        return
    for training, name, other in ((True, "train", "eval"), (False, "eval", "train")):
        with subject.sandbox():
            subject.model.train(training)
            reached = subject.model.training is training
            with suppress(Exception):  # some models give no loss in eval mode
                subject.compute_loss(subject.model, subject.batches.first(1)[0])
            if subject.model.training is training:
                continue
        after = "a forward pass in train mode" if reached and training else f"`model.{name}()`"
        what = "nothing is dropped and no statistics are gathered" if training else "dropout stays on"
        yield finding(
            "NDP10",
            f"after {after} the model is in {other} mode: {what}",
            treatment="Let an overridden `train(self, mode=True)` pass `mode` on and return self, and call "
            f"`self.{other}()` nowhere in forward.",
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN,
            location=subject.location,
            source_line=subject.source_line,
            measurements={"cause": "stuck mode"},
        )


def _depends_on_mode(model: nn.Module) -> bool:
    """Whether a trained model has layers to which the mode makes a difference."""
    modal = any("Drop" in type(module).__name__ or isinstance(module, _BatchNorm) for module in model.modules())
    return modal and any(parameter.requires_grad for parameter in model.parameters())


def _chance(subject: Subject) -> Iterator[Finding]:
    operation = random_in_eval(subject, subject.batches.first(1)[0])
    if operation is None or not DROPS.search(operation.name):
        return
    place = operation.location
    yield _finding(
        subject,
        "dropout in eval mode",
        f"`{operation.name}` drops at random in eval mode too: two runs on the same batch differ",
        "Use an nn.Dropout module, or tell the mode: `F.dropout(x, p, training=self.training)`, "
        "`dropout_p=self.p if self.training else 0.0`.",
        module=operation.module,
        place=place,
    )


def _on_outputs(subject: Subject) -> Iterator[Finding]:
    """Of embeddings that are no answer yet, some may be dropped on purpose."""
    if subject.task.kind is TaskKind.UNKNOWN or subject.objective is None:
        return
    with suppress(Exception):  # outputs that only the user's step knows
        dropped = dropped_outputs(subject, subject.batches.first(1)[0])
        if dropped and dropped[1] > NO_ZEROS.value:
            operation, share = dropped
            yield _finding(
                subject,
                "dropout on the outputs",
                f"`{operation.name}` is the last operation before the loss: in train mode it sets {share:.0%} of the "
                "outputs to zero, and the others too large",
                "Put the dropout in front of the last layer.",
                module=operation.module,
                place=operation.location,
            )


def _finding(
    subject: Subject,
    cause: str,
    message: str,
    treatment: str,
    *,
    module: str,
    place: Location | None = None,
    confidence: Confidence = Confidence.LIKELY,
) -> Finding:
    location, line = (place, source_line(place.path, place.line)) if place else place_of(subject, module)
    return finding(
        "NDP10",
        message,
        treatment=treatment,
        confidence=confidence,
        location=location,
        source_line=line,
        measurements={"cause": cause, "module": module},
    )


# -------------------------------------------------------------------------------------------------- statistics


def _statistics(subject: Subject, gap: Gap | None, norms: list[Norm]) -> Iterator[Finding]:
    """The first cause that holds; a gap without a cause is only measured."""
    still = [norm for norm in norms if norm.calls and not norm.moved]
    shifted = [norm for norm in norms if norm.shift > SHIFTED.value]
    shared = [norm for norm in norms if norm.calls > 1]
    if still:
        yield _never_updates(subject, still)
    elif shifted:
        yield _dropout_before(subject, shifted)
    elif gap and shared and _is_worse(gap.running, gap) and _is_worse(gap.refreshed, gap):
        yield _shared(subject, gap, shared)


def _is_worse(loss: float, gap: Gap) -> bool:
    return loss > WORSE.value * gap.batch and loss - gap.batch > WORSE_BY.value * abs(gap.initial)


def _names(norms: list[Norm]) -> str:
    return enumerated([norm.name for norm in norms])


def _never_updates(subject: Subject, still: list[Norm]) -> Finding:
    momenta = sorted({str(norm.momentum) for norm in still})
    return _finding(
        subject,
        "never updates",
        f"the running statistics of {_names(still)} have not moved in {STEPS} steps (momentum {', '.join(momenta)}): "
        "eval mode divides by their first values",
        "Leave the momentum at torch's 0.1: the share of the new batch, not that of the old average.",
        module=still[0].name,
        confidence=Confidence.CERTAIN,
    )


def _dropout_before(subject: Subject, shifted: list[Norm]) -> Finding:
    worst = max(shifted, key=lambda norm: norm.shift)
    return _finding(
        subject,
        "dropout before batch norm",
        f"dropout in front of {_names(shifted)} makes the variance that the running statistics hold {worst.shift:.2g} "
        "times as large as what eval mode brings",
        "Put the dropout behind the last batch norm, before the head, or do without it.",
        module=shifted[0].name,
    )


def _shared(subject: Subject, gap: Gap, shared: list[Norm]) -> Finding:
    return _finding(
        subject,
        "shared",
        f"{_names(shared)} runs {shared[0].calls} times in a forward, on inputs of different kinds: with its running "
        f"statistics the loss is {gap.running:.4g}, with those of each batch {gap.batch:.4g}",
        "Give each kind of input a batch norm of its own, or use a group or layer norm.",
        module=shared[0].name,
    )
