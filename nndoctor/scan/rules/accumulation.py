"""Gradients accumulated over several batches: what the loss is divided by, and when the optimizer steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.interpreter.states import UNKNOWN
from nndoctor.scan.numbers import number
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.schedules import is_one, is_over_loader
from nndoctor.scan.rules.steps import optimizer_name, states
from nndoctor.scan.values import Const, Lib, Site, Term, Value, leaves

_COUNT = re.compile(r"accum|iter_?size|update_freq|micro_?batch|virtual_?batch", re.IGNORECASE)
# Their step does not depend on the scale of the gradients.
_SCALE_FREE = re.compile(r"Adam|Lamb|LAMB|RMSprop|Adagrad|Adadelta|Rprop|Lion|Adafactor")


@rule("ND209")
def step_in_each_micro_batch(program: Program) -> Iterator[Draft]:
    if program.engines:
        return
    for event in program.of("backward"):
        divided = next(_divisions(event.subject), None)
        if divided is None or not event.loops or event.loops[-1].unrolled or _is_collected(program, divided):
            continue
        step = _step_after(program, event)
        if step is not None and not guards_beyond(step, event):
            count = wording.text(_divisor(divided))  # type: ignore[arg-type]
            message = f"the loss is divided by `{count}`, but the optimizer steps on every batch"
            treatment = f"Step and reset only where `(i + 1) % {count} == 0`, or do not divide."
            evidence = ((event.site, "one backward"), (step.site, "one step for each backward"))
            yield Draft("ND209", divided.site, message, evidence, treatment=treatment)  # type: ignore[arg-type]


def _divisions(loss: Value) -> Iterator[Term]:
    """The quotients of a loss by a number of batches to accumulate."""
    for term in _same_loss(loss):
        divisor = _divisor(term)
        if term.op == "/" and divisor is not None and not is_one(term.inputs[1]):
            names = kinds.name_of(term.inputs[1]), wording.text(divisor)
            if any(_COUNT.search(name) for name in names):
                yield term


def _same_loss(loss: Value) -> Iterator[Term]:
    """A loss and what it is a sum or multiple of."""
    stack, seen = [loss], set()
    while stack:
        value = stack.pop()
        if type(value) is Term and id(value) not in seen:
            seen.add(id(value))
            yield value
            if value.op in ("+", "-", "*", "/", "scaled", "returned"):
                stack.extend(value.inputs)


def _divisor(term: Term) -> Site | None:
    """The divisor in the text of `loss / k` or `loss /= k`."""
    node: Any = term.node
    if type(node) is cst.AugAssign and term.source is not None:
        return Site(term.source, node.value)
    return Site(term.source, node.right) if type(node) is cst.BinaryOperation and term.source is not None else None


def _is_collected(program: Program, quotient: Term) -> bool:
    """Whether the loss is the sum of several micro-batches already."""
    terms = {id(term) for term in graph.ancestors(quotient)}
    sums = [leaf for e in program.of("accumulate") for leaf in e.options(e.details["result"])]
    return any(id(total) in terms for total in sums) or any(t.op == "sum of" for t in graph.ancestors(quotient))


def _step_after(program: Program, backward: Event) -> Event | None:
    """The next step in the same loop of an optimizer that the backward pass feeds."""
    fed = {id(optimizer) for optimizer, _ in backward.details["optimizers"]}
    steps = (e for e in program.of("step") if e.order > backward.order and e.loops == backward.loops)
    return next((step for step in steps if id(step.subject) in fed), None)


def guards_beyond(event: Event, other: Event) -> list[Term]:
    """What was assumed of an event beside what was assumed of the other."""
    return [guard for guard in event.assumed if guard not in other.assumed]


@rule("ND209")
def accumulated_without_dividing(program: Program) -> Iterator[Draft]:
    for backward, step, _ in _accumulations(program):
        losses = list(_losses(program, backward.subject))
        resets = [e for e in program.of("reset") if e.loops == backward.loops and e.subject is step.subject]
        if not losses or not resets or not all(any(map(_group_size, reset.assumed)) for reset in resets):
            continue
        if any(state.name == UNKNOWN for state in states(step, step.details["grads"])):
            continue
        name = optimizer_name(step)
        message = f"`{name}.step()` takes the summed gradients of several batches: no loss is divided by their number"
        treatment = "Divide the loss by the number of batches that are accumulated, before `backward()`."
        evidence = ((step.site, "stepped only after several batches"),)
        yield Draft("ND209", backward.site, message, evidence, _trust(step), Severity.WARNING, treatment)


@rule("ND203")
def reset_in_each_micro_batch(program: Program) -> Iterator[Draft]:
    for backward, step, _ in _accumulations(program):
        if next(_divisions(backward.subject), None) is None:
            continue
        for reset in program.of("reset"):
            cleared = any(optimizer is step.subject for optimizer, _ in reset.details["optimizers"])
            if cleared and reset.loops == backward.loops and not guards_beyond(reset, backward):
                message = "the gradients are thrown away between backward and step"
                evidence = ((backward.site, "gradients computed here"), (step.site, "used only after several batches"))
                yield Draft("ND203", reset.site, message, evidence, Confidence.LIKELY)


def _trust(step: Event) -> Confidence:
    """The scale matters where the step is proportional to the gradients, with a rate that does not allow for it."""
    optimizer = step.subject
    if type(optimizer) is not Lib or _SCALE_FREE.search(optimizer.name):
        return Confidence.POSSIBLE
    return Confidence.LIKELY if number(optimizer.args.get("lr")) is not None else Confidence.POSSIBLE


def _accumulations(program: Program) -> Iterator[tuple[Event, Event, Term]]:
    """Backward passes of a loop, the step that follows some of them only, and the condition with its `%`."""
    if program.engines:
        return
    for backward in program.of("backward"):
        step = _step_after(program, backward) if backward.loops and not backward.loops[-1].unrolled else None
        for guard in guards_beyond(step, backward) if step is not None else ():
            count = _group_size(guard)
            if step is not None and count is not None and not is_one(count):
                yield backward, step, guard
                break


def _group_size(guard: Value) -> Value | None:
    """The k of a condition `i % k == 0` or `not i % k`, also beside another that steps at the end."""
    if type(guard) is not Term:
        return None
    if guard.op in ("or", "branch"):
        parts = (leaf for part in guard.inputs for leaf in leaves(part))
        return next((size for part in parts if (size := _group_size(part)) is not None), None)
    test = guard.inputs[0] if guard.op in ("Equal", "not") and guard.inputs else guard
    if type(test) is Term and test.op == "Equal":
        test = test.inputs[0]
    return test.inputs[1] if type(test) is Term and test.op == "%" else None


def _losses(program: Program, objective: Value) -> Iterator[Term]:
    """The library losses that an objective is a plain sum of; none if it may be scaled in any way."""
    known = {id(e.details["result"]): e for e in program.of("loss")}
    found = []
    stack = [objective]
    while stack:
        value = stack.pop()
        event = known.get(id(value))
        if event is not None and event.details["whole"] and not _is_summed(event):
            found.append(value)
        elif type(value) is Term and value.op in ("+", "scaled", "returned"):
            stack.extend(value.inputs)
        else:
            return
    yield from found


def _is_summed(loss: Event) -> bool:
    """Whether a loss is a sum over the examples, whose scale is arbitrary anyway."""
    reduction = loss.details["options"].get("reduction")
    return reduction is not None and not (type(reduction) is Const and reduction.value == "mean")


@rule("ND209")
def last_group_dropped(program: Program) -> Iterator[Draft]:
    for backward, step, guard in _accumulations(program):
        loop = backward.loops[-1]
        later = [e for e in program.of("step") if e.subject is step.subject and e.order > step.order]
        if guard.op not in ("Equal", "not") or not is_over_loader(loop.iterable):
            continue
        if not any(loop not in e.loops and e.loops == backward.loops[:-1] for e in later):
            message = "batches of a last group that is not full are not stepped with their epoch"
            treatment = "Step also where `i + 1 == len(loader)`."
            yield Draft("ND209", step.site, message, (), Confidence.POSSIBLE, Severity.INFO, treatment)
