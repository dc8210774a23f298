"""The optimisation step: gradients that are reused, thrown away or clipped at the wrong time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nndoctor.findings import Confidence
from nndoctor.scan.interpreter.states import FRESH, SPENT, STALE, UNKNOWN, WIPED
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import cures, wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Instance, Lib, Site, State, Term, Value


def states(event: Event, value: Value) -> list[State]:
    """The states that a protocol state could be when the event happened."""
    return [leaf for leaf in event.options(value) if type(leaf) is State]


def trust(event: Event) -> Confidence:
    """A parameter that is only called an optimizer is assumed to be one."""
    return Confidence.CERTAIN if type(event.subject) is Lib else Confidence.LIKELY


@rule("ND201", "ND202", "ND205")
def gradients_never_cleared(program: Program) -> Iterator[Draft]:
    for event in program.of("step"):
        found = states(event, event.details["grads"])
        stale = [s for s in found if s.name == STALE]
        resets = [e for e in program.of("reset") if _resets(e, event.subject)]
        fresh = bool(found) and all(s.name == FRESH for s in found)
        if fresh and not event.loops and not resets and (other := _reset_in_same_call(program, event)) is not None:
            yield _forgotten(program, event, other, [])
        if (
            not event.loops
            or not stale
            or _belongs_to_another(event)
            or (len(stale) < len(found) and (resets or not _all_used(found)))
        ):
            continue
        if any(reset.frames[0] is not event.frames[0] for reset in resets):
            continue  # another run of the program clears them: nobody knows when
        outside = [reset for reset in resets if _is_outside(reset, event)]
        inside = [reset for reset in resets if reset.loops[: len(event.loops)] == event.loops]
        if outside and not inside:
            before = [reset for reset in outside if reset.order < event.order]
            yield _outside(program, (before or outside)[-1], event, stale[0])
        elif len(stale) == len(found) or not resets:
            yield _never(program, event, stale[0])


def _reset_in_same_call(program: Program, step: Event) -> Event | None:
    """The reset of another optimizer by a method that trains with one batch, for callers who are not seen.

    Both optimizers outlive the call, and whoever calls it again finds one of them with the gradients of before.
    """
    optimizer, call = step.subject, step.frames[-1]
    if type(optimizer) is not Lib or type(call.receiver) is not Instance or step.has_known_caller:
        return None
    if id(optimizer) in program.handed or any(
        call in made.frames for made in program.of("optimizer") if made.subject is optimizer
    ):
        return None
    return next((e for e in program.of("reset") if e.frames[-1] is call and not e.loops), None)


def _belongs_to_another(step: Event) -> bool:
    """Whether the optimizer is a parameter of a function that has returned, whose caller may clear it."""
    optimizer = step.subject
    if type(optimizer) is not Term or optimizer.op != "parameter":
        return False
    return not any(frame.function is not None and frame.function.node is optimizer.node for frame in step.frames)


def _all_used(found: list[State]) -> bool:
    return all(s.name in (STALE, FRESH, SPENT) for s in found)


def _resets(event: Event, optimizer: Value) -> bool:
    return any(known is optimizer for known, _ in event.details["optimizers"])


def _is_outside(reset: Event, step: Event) -> bool:
    """Whether the reset stands in a loop around the loop that steps, or before all loops."""
    around = len(reset.loops) < len(step.loops) and reset.loops == step.loops[: len(reset.loops)]
    return around and (bool(reset.loops) or reset.order < step.order)


def _never(program: Program, step: Event, stale: State) -> Draft:
    name = optimizer_name(step)
    used = stale.before
    evidence = [(step.site, f"`{name}.step()` uses the sum of new and old gradients")]
    if used is not None and used.site is not None and used.site.node is not step.site.node:
        evidence.insert(0, (used.site, "the gradients were already used here"))
    others = [e for e in program.of("reset") if e.loops and e.loops == step.loops and not _resets(e, step.subject)]
    if others:
        return _forgotten(program, step, others[0], evidence)
    assert stale.site is not None
    message = f"gradients are added to those that `{name}.step()` has already used; nothing clears them in between"
    repair = cures.cleared(program, step, name)
    return Draft("ND201", stale.site, message, tuple(evidence), trust(step), repair=repair)


def _forgotten(program: Program, step: Event, other: Event, evidence: list[tuple[Site, str]]) -> Draft:
    name = optimizer_name(step)
    told = (*evidence, (other.site, "only this optimizer is reset"))
    confidence = trust(step) if step.loops else Confidence.LIKELY
    repair = cures.cleared(program, step, name)
    return Draft("ND205", step.site, f"the gradients of `{name}` are never cleared", told, confidence, repair=repair)


def _outside(program: Program, reset: Event, step: Event, stale: State) -> Draft:
    name = optimizer_name(step)
    evidence = [(step.site, f"`{name}.step()` runs for each batch")]
    if stale.site is not None:
        evidence.insert(0, (stale.site, "gradients are added to those of the batch before"))
    message = f"the gradients are cleared outside of the loop in which `{name}` steps"
    repair = cures.cleared(program, step, name)
    return Draft("ND202", reset.site, message, tuple(evidence), trust(step), repair=repair)


def optimizer_name(event: Event) -> str:
    """What the user calls the optimizer of a step."""
    node: Any = event.site.node
    func = getattr(node, "func", None)
    if event.details.get("scaler") is not None and getattr(node, "args", None):
        return wording.text(Site(event.site.source, node.args[0].value))
    value = getattr(func, "value", None)
    return wording.text(Site(event.site.source, value)) if value is not None else "optimizer"


@rule("ND203")
def zero_grad_between_backward_and_step(program: Program) -> Iterator[Draft]:
    fed_since: dict[int, int] = {}  # optimizer -> backward passes since its gradients were thrown away
    for event in program.events:
        if event.kind == "reset":
            fed_since.update({id(optimizer): 0 for optimizer, _ in event.details["optimizers"]})
        elif event.kind == "backward":
            fed_since = {key: count + 1 for key, count in fed_since.items()}
        elif event.kind == "step":
            found = states(event, event.details["grads"])
            wiped = found and all(s.name == WIPED for s in found) and not fed_since.get(id(event.subject))
            if wiped and found[0].site is not None and event.details["closure"] is None:
                yield _thrown_away(event, found[0])


@rule("ND203")
def zero_grad_in_each_micro_batch(program: Program) -> Iterator[Draft]:
    """Gradients are accumulated over a loop in which each round throws away those of the round before."""
    steps = list(program.of("step"))
    for event in program.of("reset"):
        for optimizer, grads in event.details["optimizers"]:
            found = states(event, grads)
            if not event.loops or not found or any(s.name != FRESH for s in found):
                continue
            inner = event.loops[-1]
            own = [e for e in steps if e.subject is optimizer]
            later = next((e for e in own if e.order > event.order and e.loops == event.loops[:-1]), None)
            site = found[0].site
            repeated = any(e.loops == event.loops for e in program.of("backward") if site and e.site.node is site.node)
            if later is None or not repeated or inner.unrolled or any(inner in e.loops for e in own):
                continue
            used = states(later, later.details["grads"])
            if all(
                s.name == FRESH and s.site is not None and site is not None and s.site.node is site.node for s in used
            ):
                wiped = State(WIPED, event.site)
                wiped.before = found[0]
                yield _thrown_away(later, wiped)


def _thrown_away(step: Event, wiped: State) -> Draft:
    evidence = [(step.site, f"`{optimizer_name(step)}.step()` finds no gradients")]
    if wiped.before is not None and wiped.before.site is not None:
        evidence.insert(0, (wiped.before.site, "gradients computed here"))
    assert wiped.site is not None
    message = "the gradients are thrown away between backward and step"
    return Draft("ND203", wiped.site, message, tuple(evidence), trust(step))


@rule("ND206")
def clip_misplaced(program: Program) -> Iterator[Draft]:
    for event in program.of("step"):
        clips = states(event, event.details["clip"])
        grads = {s.name for s in states(event, event.details["grads"])}
        if clips and grads and grads <= {FRESH, STALE} and all(c.name in ("early", "late") for c in clips):
            yield _misplaced(clips[0], event)
    useless = _between_step_and_reset(program)
    for event in program.of("clip"):
        late = _already_used(event) or useless.get(event.order)
        if late is not None and _same_run(program, late, event):
            yield _late(event, late)
        elif (first := _only_before_training(program, event)) is not None:
            evidence = ((first.site, "the first gradients are computed here"),)
            yield Draft("ND206", event.site, "the gradients are clipped once, before there are any", evidence)
        elif any(_is_lightning_step(frame) for frame in event.frames):
            yield Draft(
                "ND206",
                event.site,
                "the gradients are clipped before there are any: Lightning runs backward after training_step",
            )


def _only_before_training(program: Program, clip: Event) -> Event | None:
    """The first backward pass of a run that clips nowhere but ahead of its training loop."""
    if clip.loops or any(e.loops and e.frames[0] is clip.frames[0] for e in program.of("clip")):
        return None
    passes = [e for e in program.of("backward") if e.frames[0] is clip.frames[0]]
    first = passes[0] if passes else None
    return first if first is not None and first.loops and first.order > clip.order else None


def _misplaced(clip: State, step: Event) -> Draft:
    assert clip.site is not None
    when = "before there are any" if clip.name == "early" else "after the step has used them"
    message = f"the gradients are clipped {when}"
    return Draft("ND206", clip.site, message, ((step.site, "the step that takes unclipped gradients"),), trust(step))


def _already_used(event: Event) -> Site | None:
    """The step right before the clipping, in the same function, if every optimizer concerned has just stepped."""
    concerned = event.details["optimizers"]
    for optimizer, grads, _ in concerned:
        found = states(event, grads)
        if not found or any(s.name != SPENT or s.site is None or s.site.source is not event.site.source for s in found):
            return None
        if type(optimizer) is not Lib and not event.loops and len(concerned) > 1:
            return None
    return states(event, concerned[0][1])[0].site if concerned else None


def _between_step_and_reset(program: Program) -> dict[int, Site]:
    """The step right before a clipping, by the order of the latter, where the gradients are thrown away right after."""
    events = list(program.of("backward", "step", "clip", "reset"))
    found: dict[int, Site] = {}
    for step, clip, reset in zip(events, events[1:], events[2:], strict=False):
        together = step.loops == clip.loops == reset.loops
        if not together or (step.kind, clip.kind, reset.kind) != ("step", "clip", "reset"):
            continue
        clipped = {id(optimizer) for optimizer, _, _ in clip.details["optimizers"]}
        if id(step.subject) in clipped and clipped <= {id(known) for known, _ in reset.details["optimizers"]}:
            found[clip.order] = step.site
    return found


def _same_run(program: Program, step: Site, clip: Event) -> bool:
    """Whether the step was reached on the way to the clipping, not by other code that ran before."""
    return any(e.site.node is step.node and e.frames[0] is clip.frames[0] for e in program.of("step"))


def _late(event: Event, step: Site) -> Draft:
    return Draft("ND206", event.site, "the gradients are clipped after the step has used them", ((step, "the step"),))


def _is_lightning_step(frame: Any) -> bool:
    """Whether a frame is a training_step of Lightning that leaves the optimisation to the trainer."""
    receiver = frame.receiver
    if frame.function is None or frame.function.name != "training_step" or type(receiver) is not Instance:
        return False
    manual = receiver.attrs.get("automatic_optimization")
    return any("Lightning" in root for root in receiver.cls.roots) and manual is None


@rule("ND207")
def clip_without_unscale(program: Program) -> Iterator[Draft]:
    events = program.events
    latest: dict[int, str] = {}  # optimizer -> whether its gradients were computed, used or cleared last
    for index, event in enumerate(events):
        if event.kind in ("backward", "reset"):
            latest.update({id(optimizer): event.kind for optimizer, _ in event.details["optimizers"]})
        elif event.kind == "step":
            latest[id(event.subject)] = event.kind
        if event.kind != "clip" or event.details["scaled_limit"]:
            continue
        for optimizer, grads, scale in event.details["optimizers"]:
            scaled = [s for s in states(event, scale) if s.name == "scaled"]
            known = (FRESH, STALE, UNKNOWN) if latest.get(id(optimizer)) == "backward" else (FRESH, STALE)
            fresh = all(s.name in known for s in states(event, grads))
            step = next((e for e in events[index:] if e.kind == "step" and e.subject is optimizer), None)
            if (
                scaled
                and fresh
                and len(scaled) == len(event.options(scale))
                and step is not None
                and step.details["scaler"] is not None
            ):
                yield _still_scaled(event, scaled[0], step)


def _still_scaled(clip: Event, scaled: State, step: Event) -> Draft:
    evidence = [(step.site, "the scaler unscales only here")]
    if scaled.site is not None:
        evidence.insert(0, (scaled.site, "gradients of the scaled loss"))
    message = "the gradients are clipped while they are still multiplied by the loss scale"
    repair = cures.unscaled(clip, step, optimizer_name(step))
    return Draft("ND207", clip.site, message, tuple(evidence), trust(step), repair=repair)
