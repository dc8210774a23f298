"""NDP24: what fills up a batch must not change the outputs of the real steps."""

from __future__ import annotations

import torch
from torch import Tensor

from nndoctor.findings import Figure, Finding
from nndoctor.probe.batch import clone
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.examples import Call
from nndoctor.probe.isolation import THRESHOLD
from nndoctor.probe.padding import Padded, find_padded
from nndoctor.probe.positions import Leak, find_leak, main_output
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject

ADVICE = {
    "softmax": 'hide the padding before the softmax: scores.masked_fill(padding[:, None, :], float("-inf"))',
    "fused attention": "give F.scaled_dot_product_attention attn_mask=, True where a step is real",
    "attention": "give the layer the padding: src_key_padding_mask= or key_padding_mask=, True where a step is padding",
    "recurrent": "pack the sequences: nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=..., "
    "enforce_sorted=False)",
    "reduction": "take the mean of the real steps: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True); for a "
    'maximum x.masked_fill(~mask[..., None], float("-inf")).amax(1)',
}


@probe("NDP24")
def padding(subject: Subject, effort: Effort) -> Outcome:
    """Cut the padding of one example off, and put other content there; neither may change what is real.

    Only what both change is a fault: padding may be harmless because its embedding is zero.
    """
    with subject.sandbox():
        padded = find_padded(subject)
        subject.model.eval()
        cut = _change(subject, padded, padded.cut())
        filled = _change(subject, padded, padded.filled())
        figures: dict[str, Figure] = {
            "change without the padding": cut,
            "change with other content there": filled,
            "expected": "0",
            "padding": f"{padded.steps - padded.real} of {padded.steps} steps, by the {padded.told_by}",
        }
        leaks = min(cut, filled) > THRESHOLD.value
        found = _finding(subject, padded, figures) if leaks else None
    return Outcome(
        summary=f"outputs of the real steps change by {cut:.2g} without the padding, expected 0",
        findings=(found,) if found else (),
        measurements=figures,
        steps=4,
    )


@torch.no_grad()
def _change(subject: Subject, padded: Padded, call: Call) -> float:
    """Of the outputs of the real steps, as a share of them."""
    with subject.sandbox() as rewind:

        def output(call: Call) -> Tensor:
            rewind()
            subject.model.eval()
            return padded.real_part(main_output(subject, call)).double()

        try:
            before, after = output(clone(padded.call)), output(call)
        except Exception as error:
            raise NotApplicableError("the model only takes sequences of one length") from error
    if before.shape != after.shape or not float(before.norm()):
        raise NotApplicableError("the outputs cannot be compared with those of a shorter sequence")
    return float((after - before).norm() / before.norm())


def _finding(subject: Subject, padded: Padded, figures: dict[str, Figure]) -> Finding:
    leak = _leak(subject, padded)
    return finding(
        "NDP24",
        f"the outputs of the real steps depend on the padding, although the model is given the {padded.told_by}",
        treatment=ADVICE.get(leak.kind) if leak else None,
        location=leak.location if leak and leak.location else subject.location,
        source_line=leak.source_line if leak and leak.location else subject.source_line,
        evidence=(leak.evidence("here the padding reaches real steps"),) if leak else (),
        measurements={**figures, "cause": "padding read", "operation": leak.name if leak else None},
    )


def _leak(subject: Subject, padded: Padded) -> Leak | None:
    may_change = torch.arange(padded.steps) >= padded.real
    with subject.sandbox() as rewind:
        subject.model.eval()
        calls = clone(padded.call), clone(padded.call), padded.filled()
        return find_leak(subject, rewind, calls, may_change)
