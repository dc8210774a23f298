"""Common functions written in a way that loses digits."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Const, Term, Value

# The operation under a logarithm, and what computes both in one stable step.
_UNDER_LOG = {"softmax": "F.log_softmax", "sigmoid": "F.logsigmoid"}


@rule("ND710")
def unstable_spelling(program: Program) -> Iterator[Draft]:
    seen: set[int] = set()
    for event in program.calls("torch.log", "torch.exp"):
        found = _better(program, event)
        if found is not None and id(event.site.node) not in seen:
            seen.add(id(event.site.node))
            message = f"`{wording.text(event.site)}` loses digits; {found} does not"
            yield Draft("ND710", event.site, message, treatment=f"Use {found}.")


def _better(program: Program, event: Event) -> str | None:
    given = event.details["args"].get(0, "input")
    result = event.details["result"]
    if event.details["name"] == "torch.exp":
        less = (t for t in program.consumers(result) if t.op == "-" and t.inputs[0] is result)
        return "`torch.expm1`" if any(_is_one(t.inputs[1]) for t in less) else None
    if type(given) is not Term:
        return None
    if given.op == "+" and any(map(_is_one, given.inputs)):
        return "`torch.log1p`"
    if given.op == "sum" and given.inputs and getattr(given.inputs[0], "op", "") == "exp":
        return "`torch.logsumexp`"
    better = _UNDER_LOG.get(given.op)
    return f"`{better}`" if better else None


def _is_one(value: Value) -> bool:
    return type(value) is Const and value.value == 1 and value.value is not True
