"""NDP16: the backward of the user's own autograd functions beside the derivative of their forward."""

from __future__ import annotations

import math

from nndoctor.findings import Confidence, Evidence, Finding
from nndoctor.probe.derivatives import SMOOTH, Check, Checked, check
from nndoctor.probe.effort import Effort
from nndoctor.probe.errors import NotApplicableError
from nndoctor.probe.functions import find_calls
from nndoctor.probe.registry import Outcome, finding, probe
from nndoctor.probe.subject import Subject


@probe("NDP16")
def gradcheck(subject: Subject, effort: Effort) -> Outcome:
    """Check every custom function of the forward at a few points of its real inputs, in float64."""
    with subject.sandbox():
        calls = find_calls(subject, subject.batches.first(1)[0])
    if not calls:
        raise NotApplicableError("the forward meets no autograd.Function of your own")
    checked = [check(call, subject.seed) for call in calls]
    found = [each for each in checked if each.wrong and each.reason is None]
    return Outcome(
        summary="; ".join(map(_summary, checked)),
        findings=tuple(_finding(subject, each) for each in found),
        measurements={f"largest error of `{each.call.name}`": _error(each) for each in checked if each.reason is None},
        steps=2,
    )


def _error(checked: Checked) -> float:
    """By how much a claimed derivative is off, as a share of the largest of its input."""
    return max((abs(m - c) / each.scale for each in checked.checks if each.scale for m, c in each.known), default=0.0)


def _summary(checked: Checked) -> str:
    name = f"`{checked.call.name}`"
    if checked.reason is not None:
        return f"{name} was not judged: {checked.reason}"
    points = sum(len(each.known) for each in checked.checks)
    return f"{name} is off by {_error(checked):.1g} of its derivative at most, at {points} points"


def _finding(subject: Subject, checked: Checked) -> Finding:
    wrong = checked.wrong
    assert wrong is not None, "only wrong ones are told of"
    place, line = checked.call.place or (subject.location, subject.source_line)
    number = wrong.number + 1
    return finding(
        "NDP16",
        f"the backward of `{checked.call.name}` is wrong for its {_ordinal(number)} tensor: {_how(wrong)}",
        treatment=_treatment(wrong),
        confidence=Confidence.CERTAIN,
        location=place,
        source_line=line,
        evidence=tuple(
            Evidence(f"at one element the outputs change by {measured:.4g}, and the backward says {claimed:.4g}")
            for measured, claimed in wrong.wrong[:3]
        ),
        measurements={
            "cause": "wrong backward",
            "function": checked.call.name,
            "input": number,
            "wrong": len(wrong.wrong),
            "points": len(wrong.known),
            "factor": wrong.factor,
        },
    )


def _how(wrong: Check) -> str:
    if _is_reversed(wrong):
        return "it has the opposite sign"
    if wrong.factor is not None:
        return f"it is {wrong.factor:.4g} times the derivative"
    return f"it differs from the derivative at {len(wrong.wrong)} of {len(wrong.known)} points"


def _is_reversed(wrong: Check) -> bool:
    return wrong.factor is not None and math.isclose(wrong.factor, -1, rel_tol=SMOOTH)


def _treatment(wrong: Check) -> str | None:
    if wrong.factor is None:
        return None
    if _is_reversed(wrong):
        return "Change the sign of the gradient that it returns for this input, then call torch.autograd.gradcheck."
    return (
        f"Divide the gradient that it returns for this input by {wrong.factor:.4g}, then call torch.autograd.gradcheck."
    )


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
