"""Mixed precision: the protocol of the gradient scaler, and where autocast must end."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import graph
from nndoctor.scan.interpreter.states import FRESH, STALE
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.steps import states
from nndoctor.scan.values import Const, Lib, State, Value


@rule("ND208")
def scaler_never_updated(program: Program) -> Iterator[Draft]:
    updated = {id(event.subject) for event in program.of("update")}
    for event in program.of("step"):
        scaler = event.details["scaler"]
        known = type(scaler) is Lib and id(scaler) not in updated
        if known and id(scaler) not in program.handed and event.loops and _enabled(scaler) is not None:
            message = "the scaler is never updated: its second step raises an error, and its scale never adapts"
            treatment = "Call `scaler.update()` once after the last `scaler.step(...)` of each iteration."
            yield Draft("ND208", event.site, message, treatment=treatment)


@rule("ND208")
def loss_not_scaled(program: Program) -> Iterator[Draft]:
    """A scaler divides the gradients by its scale, but the loss was not multiplied by it."""
    for event in program.of("step"):
        confidence = _enabled(event.details["scaler"])
        found = states(event, event.details["scale"])
        if confidence is None or not found or any(state.name != "plain" for state in found) or not _is_fresh(event):
            continue
        last = _backward_at(program, found[0])
        if last is not None and _is_plain(last.subject):
            message = "this loss is not scaled, but the scaler divides its gradients by the loss scale"
            treatment = "Write `scaler.scale(loss).backward()`."
            evidence = ((event.site, "divided here"),)
            yield Draft("ND208", last.site, message, evidence, confidence, treatment=treatment)


def _is_plain(loss: Value) -> bool:
    """Whether a loss is known well enough to say that no scaler had to do with it."""
    operations = {term.op for term in graph.ancestors(loss, through_cuts=True)}
    return "scaled" not in operations and bool(operations & {"loss", "forward"})


@rule("ND208")
def step_not_unscaled(program: Program) -> Iterator[Draft]:
    """The loss was multiplied by the scale, and the optimizer steps by itself."""
    for event in program.of("step"):
        found = states(event, event.details["scale"])
        if event.details["scaler"] is not None or not found or any(state.name != "scaled" for state in found):
            continue
        last = _backward_at(program, found[0])
        confidence = _enabled(_scaler_of(last.subject)) if last is not None else None
        if last is not None and confidence is not None and _is_fresh(event):
            message = "the optimizer steps with gradients that are still multiplied by the loss scale"
            treatment = (
                "Write `scaler.step(optimizer)`, which unscales and skips what overflows, then `scaler.update()`."
            )
            evidence = ((last.site, "gradients of the scaled loss"),)
            yield Draft("ND208", event.site, message, evidence, confidence, treatment=treatment)


def _backward_at(program: Program, state: State) -> Event | None:
    """The backward pass that a state of the gradients' scale comes from."""
    node = state.site.node if state.site is not None else None
    return next((event for event in program.of("backward") if event.site.node is node), None)


def _scaler_of(loss: Value) -> Value:
    """The scaler that multiplied a loss."""
    scaled = (term for term in graph.ancestors(loss) if term.op == "scaled" and term.info is not None)
    return next((term.info["scaler"] for term in scaled if term.info is not None), None)


def _is_fresh(step: Event) -> bool:
    """Whether the gradients are those of a backward pass, which nobody has changed by hand."""
    found = states(step, step.details["grads"])
    return bool(found) and all(state.name in (FRESH, STALE) for state in found)


def _enabled(scaler: Value) -> Confidence | None:
    """How surely a scaler scales; None if it is switched off or cannot be seen."""
    if type(scaler) is not Lib:
        return None
    enabled = scaler.args.get("enabled")
    if type(enabled) is Const:
        return Confidence.CERTAIN if enabled.value else None
    return Confidence.CERTAIN if enabled is None else Confidence.LIKELY


@rule("ND208")
def backward_under_autocast(program: Program) -> Iterator[Draft]:
    for event in program.of("backward"):
        modes = event.options(event.details["amp"])
        off = [mode for mode in modes if type(mode) is Const and not mode.value]
        if off:
            continue
        confidence = Confidence.CERTAIN if all(type(mode) is Const for mode in modes) else Confidence.LIKELY
        message = "backward runs inside autocast, which is for the forward pass and the loss only"
        treatment = "End the `with` block before `backward()`; backward takes the types of the forward pass by itself."
        yield Draft("ND208", event.site, message, (), confidence, Severity.WARNING, treatment)
