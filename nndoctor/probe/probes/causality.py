"""NDP05: a model that predicts its own next input must not see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nndoctor.findings import Confidence, Figure, Finding, Series, Severity
from nndoctor.probe.batch import tensors
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call, Examples, other_tokens, other_values
from nndoctor.probe.foretelling import Foretelling, read_foretelling
from nndoctor.probe.isolation import LARGEST_NOISE, THRESHOLD, jitter
from nndoctor.probe.memory import Undo
from nndoctor.probe.positions import find_leak, main_output
from nndoctor.probe.registry import Outcome, finding, model_finding, probe
from nndoctor.probe.subject import Subject

# Steps that are changed in turn, each at the price of a forward pass; the outputs of all steps are looked at.
MOST_EDITS = 12
CAUSES = {
    "softmax": "no causal mask",
    "fused attention": "no causal mask",
    "attention": "no causal mask",
    "recurrent": "read from both ends",
    "convolution": "padded on both sides",
    "reduction": "statistic over time",
}
ADVICE = {
    "softmax": "hide the later steps before the softmax: scores.masked_fill(torch.ones(T, T).triu(1).bool(), "
    'float("-inf")), with T = scores.size(-1) and the mask on the device of the scores',
    "fused attention": "give F.scaled_dot_product_attention is_causal=True",
    "attention": "give the layer a causal mask, nn.Transformer.generate_square_subsequent_mask(T): as mask= of "
    "nn.TransformerEncoder, tgt_mask= of nn.TransformerDecoder, attn_mask= of nn.MultiheadAttention",
    "recurrent": "a bidirectional layer reads the sequence from its end too: construct it with bidirectional=False",
    "convolution": "pad on the side of the past only: F.pad(x, (dilation * (kernel_size - 1), 0)), and give the "
    "convolution padding=0",
    "reduction": "it runs over all steps: take it over the features, or over the steps so far (a cumulative sum)",
}


@dataclass(frozen=True, slots=True, eq=False)
class Dependence:
    """`matrix[i, k]`: effect of the input at step `edited[k]` on the output at step i; the largest of a column is 1."""

    matrix: Tensor  # (T, edits)
    edited: tuple[int, ...]
    threshold: float

    def worst(self, low: int, high: int) -> tuple[float, int, int]:
        """The largest effect among outputs `low` to `high` steps after the edit, with its output and edited step."""
        lag = torch.arange(len(self.matrix))[:, None] - torch.tensor(self.edited)
        found = self.matrix.masked_fill((lag < low) | (lag > high), 0.0)
        row, column = divmod(int(found.argmax()), len(self.edited))
        return float(found[row, column]), row, self.edited[column]


@probe("NDP05")
def causality(subject: Subject, effort: Effort) -> Outcome:
    """Find out which input each output is asked for, then change a few steps in turn and see which outputs follow."""
    batch = subject.batches.first(1)[0]
    with subject.sandbox():
        foretelling = read_foretelling(subject, batch)
    whole = _whole_batch(subject)
    deviation = jitter(subject, whole)
    subject.model.eval()
    with subject.sandbox() as rewind:
        measured = _measure(subject, rewind, whole, foretelling)
    steps, shift = len(measured.matrix), foretelling.shift
    future, past = measured.worst(-steps, -max(shift, 1))[0], measured.worst(1, steps)[0]
    figures: dict[str, Figure] = {
        "target": _target_of(shift),
        "influence of the future": future,
        "expected": "0" if shift else None,
        "influence of the own step": measured.worst(0, 0)[0],
        "influence of the past": past,
        "jitter": deviation,
    }
    found = _verdict(subject, whole, foretelling, measured, figures)
    return Outcome(
        summary=_summary(future, past, shift),
        findings=(found,) if found else (),
        measurements=figures,
        series={"influence": _series(measured)},
        steps=len(measured.edited) + 3,
    )


def _whole_batch(subject: Subject) -> Examples:
    """All examples of the first batch: steps are changed, not examples."""
    split = subject.split(subject.batches.first(1)[0])
    return Examples(0, 0, split.args, split.kwargs, ())


def _measure(subject: Subject, rewind: Undo, whole: Examples, foretelling: Foretelling) -> Dependence:
    """Raises NotApplicableError where outputs do not depend on the inputs, or not on them alone."""

    @torch.no_grad()
    def output(call: Call) -> Tensor:
        rewind()
        return main_output(subject, call)

    base = output(whole.call())
    if not bool(base.isfinite().all()):
        raise NotApplicableError("the outputs are not finite")
    noise = foretelling.by_step(output(whole.call()) - base).max()
    columns = {step: foretelling.by_step(output(call) - base) for step, call in _edits(whole, foretelling)}
    largest = max((column.max() for column in columns.values()), default=torch.zeros(()))
    if not largest:
        raise NotApplicableError("the outputs do not depend on the sequence that they are to predict")
    if noise > LARGEST_NOISE * largest:
        raise NotApplicableError("the model gives other outputs for the same batch, weights and random numbers")
    kept = {step: column / column.max() for step, column in columns.items() if column.max() > LARGEST_NOISE * largest}
    return Dependence(torch.stack([*kept.values()], 1), (*kept,), max(THRESHOLD.value, 10 * float(noise / largest)))


def _edits(whole: Examples, foretelling: Foretelling) -> list[tuple[int, Call]]:
    """Calls with the input changed at one step in every example; padding and special tokens stay."""
    steps = tensors(whole.call())[foretelling.number].shape[foretelling.time]
    count = min(steps, MOST_EDITS)
    chosen = sorted({round(number * (steps - 1) / max(count - 1, 1)) for number in range(count)})
    return [(step, _edited(whole, foretelling, step)) for step in chosen]


@torch.no_grad()
def _edited(whole: Examples, foretelling: Foretelling, step: int) -> Call:
    call = whole.call()
    given = tensors(call)[foretelling.number]
    part = given.select(foretelling.time, step)
    if given.is_floating_point():
        part.copy_(other_values(part))
    else:
        part.copy_(other_tokens(given.movedim(foretelling.time, 1), part))
    return call


# ------------------------------------------------------------------------------------------------- verdicts


def _verdict(
    subject: Subject, whole: Examples, foretelling: Foretelling, measured: Dependence, figures: dict[str, Figure]
) -> Finding | None:
    steps, shift = len(measured.matrix), foretelling.shift
    if measured.worst(-steps, -max(shift, 1))[0] > measured.threshold:
        return _sees_the_future(subject, whole, foretelling, measured, figures) if shift else None
    if measured.worst(1, steps)[0] <= measured.threshold or foretelling.class_dim is None:
        return None  # each step by itself, or a forecast several steps ahead
    if shift == 0 and measured.worst(0, 0)[0] > measured.threshold:
        return _not_shifted(subject, figures)
    return _shifted_twice(subject, shift, figures) if shift > 1 else None


def _sees_the_future(
    subject: Subject, whole: Examples, foretelling: Foretelling, measured: Dependence, figures: dict[str, Figure]
) -> Finding:
    steps, shift = len(measured.matrix), foretelling.shift
    at_target = measured.worst(-shift, -shift)
    _, row, column = at_target if at_target[0] > measured.threshold else measured.worst(-steps, -shift)
    with subject.sandbox() as rewind:
        calls = whole.call(), whole.call(), _edited(whole, foretelling, column)
        leak = find_leak(subject, rewind, calls, torch.arange(steps) >= column)
    return finding(
        "NDP05",
        f"output {row} depends on input {column}, and is trained to predict {_target(row + shift, column)}",
        treatment=ADVICE.get(leak.kind) if leak else None,
        confidence=Confidence.CERTAIN,
        location=leak.location if leak and leak.location else subject.location,
        source_line=leak.source_line if leak and leak.location else subject.source_line,
        evidence=(leak.evidence(f"here input {column} reaches earlier steps"),) if leak else (),
        measurements={
            **figures,
            "cause": CAUSES.get(leak.kind if leak else "", "future seen"),
            "operation": leak.name if leak else None,
            "module": leak.module if leak else None,
        },
    )


def _target(step: int, seen: int) -> str:
    return "it" if step == seen else f"input {step}"


def _not_shifted(subject: Subject, figures: dict[str, Figure]) -> Finding:
    return model_finding(
        "NDP05",
        subject,
        "the targets equal the inputs: a model that sees no later step is asked for the token that it is given",
        treatment="Shift the targets by one: compare logits[:, :-1] with tokens[:, 1:], or let the data set return "
        "tokens[:-1] and tokens[1:].",
        measurements={**figures, "cause": "targets not shifted"},
    )


def _shifted_twice(subject: Subject, shift: int, figures: dict[str, Figure]) -> Finding:
    return model_finding(
        "NDP05",
        subject,
        f"the output at each step is trained to predict the input {shift} steps later, not the next one",
        treatment="Shift the targets once: where the model shifts its labels itself, as those of transformers do, give "
        "it labels equal to the inputs.",
        severity=Severity.WARNING,
        measurements={**figures, "cause": "targets shifted twice"},
    )


def _target_of(shift: int) -> str:
    return {0: "the inputs themselves", 1: "the next input"}.get(shift, f"the input {shift} steps later")


def _summary(future: float, past: float, shift: int) -> str:
    expected = ", expected 0" if shift else ""  # an autoencoder may see the whole sequence
    return (
        f"the targets are {_target_of(shift)}; influence of later steps {future:.2g}{expected}, of earlier {past:.2g}"
    )


def _series(measured: Dependence) -> Series:
    rows = tuple(tuple(row) for row in measured.matrix.tolist())
    return Series(
        rows,
        "effect of the input at a step (column) on the output at a step (row)",
        x=tuple(map(float, measured.edited)),
        x_label="changed step",
        y_label="step of the output",
    )
