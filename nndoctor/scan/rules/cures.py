"""What would treat the findings of the rules: the repairs that need more than the finding's own place."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.repairs import Change, Repair, instead, line, with_argument
from nndoctor.scan.values import LOSS, Lib, Site, State, Term, leaves

_ATOMS = (cst.Name, cst.Attribute, cst.Call, cst.Subscript)
# What is the same of logits as of their softmax, or right of them only; and what merely hands a value on.
_ORDER_OPS = frozenset({"argmax", "max", "topk", "sort", "argsort", "loss", "softmax", "log_softmax"})
_PASSING_OPS = frozenset(
    {"data", "cpu", "detach", "returned", "squeeze", "float", "to", "forward", "contiguous", "view"}
)
# Methods that a tensor has and the float of `.item()` lacks.
_TENSOR_METHODS = ("item", "detach", "cpu")


def receiver(site: Site) -> Site:
    """What a method is called on."""
    node: Any = site.node
    return Site(site.source, node.func.value)


def bracketed(text: str, node: cst.CSTNode) -> str:
    """An expression as part of a larger one."""
    return text if isinstance(node, _ATOMS) else f"({text})"


def cleared(program: Program, step: Event, name: str) -> Repair:
    """`zero_grad()` before the backward pass that feeds a step; after the step if that one is conditional."""
    text = f"{name}.zero_grad()"
    feeding = (
        event
        for event in program.of("backward")
        if event.loops == step.loops
        and event.frames[-1] is step.frames[-1]
        and event.order < step.order
        and all(step.assumed.get(guard, truth) is truth for guard, truth in event.assumed.items())
        and any(optimizer is step.subject for optimizer, _ in event.details["optimizers"])
    )
    first = next(feeding, None)
    if first is None or step.assumed.keys() - first.assumed.keys():
        return line("after", step.site, text)
    return line("before", first.site, text)


def unscaled(clip: Event, step: Event, optimizer: str) -> Repair | None:
    """`scaler.unscale_(optimizer)` before the clipping."""
    if clip.frames[-1] is not step.frames[-1]:
        return None
    return line("before", clip.site, f"{wording.code(receiver(step.site))}.unscale_({optimizer})")


def in_mode(forward: Event, mode: str, inside: bool) -> Repair | None:
    """`model.eval()` or `model.train()` before the loop over the batches; before the forward itself if `inside`."""
    node: Any = forward.site.node
    func = node.func
    model = func.value if type(func) is cst.Attribute and func.attr.value == "forward" else func
    text = f"{wording.code(Site(forward.site.source, model))}.{mode}()"
    if inside:
        return line("before", forward.site, text)
    loop = forward.loops[-1]
    outer, inner = loop.frame, forward.frames[-1]
    same_object = inner.receiver is not None and inner.receiver is outer.receiver and text.startswith("self.")
    return line("before", Site(outer.source, loop.node), text) if outer is inner or same_object else None


def restored(program: Program, state: State, output: Term) -> Repair | None:
    """`model.train()` before the training batches, or before each forward if the evaluation is among them."""
    forward = (output.info or {}).get("event")
    if forward is None or state.site is None or not forward.loops:
        return None
    node = state.site.node
    evaluations = [event for event in program.of("mode") if event.site.node is node]
    inside = any(forward.loops[-1] in event.loops for event in evaluations)
    return in_mode(forward, "train", inside)


def without_graph(program: Program, operand: Site, added: list[Event]) -> Repair | None:
    """`.item()` for what is added up; `.detach()` if the total is later used as the tensor that it was.

    None if what is added, in one of these events, is no tensor.
    """
    if any(type(leaf) is not Term or leaf.act != LOSS for event in added for leaf in event.options(event.subject)):
        return None
    totals = [leaf for event in added if event.kind == "accumulate" for leaf in leaves(event.details["result"])]
    kept = {id(total) for total in totals}
    used = any(
        id(term) in kept
        for event in program.methods(*_TENSOR_METHODS)
        for leaf in event.options(event.subject)
        if type(leaf) is Term
        for term in graph.ancestors(leaf, through_cuts=True)
    )
    method = "detach" if used or not totals else "item"
    text = f"{bracketed(wording.code(operand), operand.node)}.{method}()"
    shown = f"{bracketed(wording.text(operand), operand.node)}.{method}()"
    return Repair(f"write `{shown}`", (Change(operand, text),))


def switched(event: Event) -> Repair | None:
    """`training=self.training` for a functional dropout in a method."""
    node: Any = event.site.node
    function = event.frames[-1].function
    params = function.node.params.params if function is not None else ()
    if function is None or function.receiver is None or not params or type(node) is not cst.Call:
        return None
    owner = params[0].name.value
    rate = next((arg for arg in node.args if arg.keyword is not None and arg.keyword.value == "dropout_p"), None)
    if rate is not None:  # scaled_dot_product_attention has no switch of its own
        site = Site(event.site.source, rate.value)
        text = f"{bracketed(wording.code(site), rate.value)} if {owner}.training else 0.0"
        return instead(site, text, f"pass `dropout_p={text}`")
    return with_argument(event.site, f"training={owner}.training")


def logits(program: Program, made: Term) -> Repair | None:
    """No activation where it was the last thing that happened to an output."""
    site = made.site
    if site is None:
        return None
    layer = (made.info or {}).get("layer")
    safe = all(_is_as_good(program, term) for term in list(program.terms) if _shows(term, made))
    message = f"remove the {made.op.replace('_', '-')}"
    if type(layer) is Lib and layer.node is site.node:
        return Repair(message, (Change(site, where="item"),), safe)
    operand = _operand(site.node)
    if operand is None:
        return None
    changes = [Change(site, bracketed(wording.code(Site(site.source, operand)), operand))]
    if type(layer) is Lib and not _is_used_elsewhere(program, layer, site.node):
        changes.append(Change(layer.site, where="statement"))
    return Repair(message, tuple(changes), safe)


def _operand(node: Any) -> cst.BaseExpression | None:
    """What an activation is applied to: the receiver of a method, or the first argument."""
    if type(node) is not cst.Call:
        return None
    if type(node.func) is cst.Attribute and node.func.attr.value in ("softmax", "sigmoid", "relu"):
        module = node.func.value
        if (
            not (type(module) is cst.Name and module.value in ("F", "torch", "functional"))
            and (
                not node.args
                or node.args[0].keyword is not None
                or type(node.args[0].value) is cst.Integer
                or type(node.args[0].value) is cst.UnaryOperation
            )
            and type(module) is not cst.Attribute
        ):
            return module
    first = next((arg for arg in node.args if arg.keyword is None or arg.keyword.value == "input"), None)
    return first.value if first is not None and not first.star else None


def _is_used_elsewhere(program: Program, layer: Lib, node: cst.CSTNode) -> bool:
    return any(event.subject is layer and event.site.node is not node for event in program.of("apply"))


def _shows(term: Term, made: Term) -> bool:
    """Whether a term is an output that still shows that activation."""
    return term.op == "forward" and term.act == made.act and wording.origin(term).node is made.node


def _is_as_good(program: Program, output: Term) -> bool:
    """Whether everything that is done with an output gives the same, or better, without the activation."""
    if any(event.subject is output for event in program.of("append")):
        return False
    return all(
        term.op in _ORDER_OPS or (term.op in _PASSING_OPS and _is_as_good(program, term))
        for term in program.consumers(output)
    )
