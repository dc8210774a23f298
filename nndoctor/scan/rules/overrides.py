"""Methods of torch.nn.Module that a class redefines with another meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from nndoctor.findings import Confidence, Severity
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Program
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.values import Class, Function

# Parameters that say which mode is meant, as `mode` of torch.nn.Module.train does.
_MODE = re.compile(
    r"(is_?|set_?)?(mode|flag|train|training|status|state|enabled?|on|value)|\w*_(mode|flag)", re.IGNORECASE
)


@rule("ND310")
def train_overridden(program: Program) -> Iterator[Draft]:
    own = [
        (cls, method)
        for cls in program.classes
        if cls.is_module
        for method in (cls.attrs.get("train"), cls.attrs.get("eval"))
        if type(method) is Function
    ]
    inside = _done_inside(program, {id(method.node) for _, method in own})
    for cls, method in own:
        wanted = [name for name in _required(method) if not _MODE.fullmatch(name)]
        done = inside.get(id(method.node), set())
        if wanted or done & {"backward", "step"} or (method.name == "eval" and "loss" in done and "mode" not in done):
            yield _other_meaning(program, cls, method, wanted)


def _done_inside(program: Program, methods: set[int]) -> dict[int, set[str]]:
    """The kinds of events that happened while each of these methods ran."""
    found: dict[int, set[str]] = {}
    for event in program.of("mode", "loss", "backward", "step") if methods else ():
        for frame in event.frames:
            if frame.function is not None and id(frame.function.node) in methods:
                found.setdefault(id(frame.function.node), set()).add(event.kind)
    return found


def _required(method: Function) -> list[str]:
    """The parameters besides `self` that have no default."""
    parameters: cst.Parameters = method.node.params
    names = [p.name.value for p in (*parameters.posonly_params, *parameters.params) if p.default is None]
    static = any(getattr(d, "name", "") == "builtins.staticmethod" for d in method.decorators)
    return [*(names if static else names[1:]), *(p.name.value for p in parameters.kwonly_params if p.default is None)]


def _other_meaning(program: Program, cls: Class, method: Function, wanted: list[str]) -> Draft:
    name = method.name
    does = f"asks for `{wanted[0]}`" if wanted else "trains the model" if name == "train" else "evaluates the model"
    hidden = "mode switch of torch.nn.Module, which `eval()` calls" if name == "train" else "switch to evaluation mode"
    message = f"`{cls.name}.{name}` {does} and hides the {hidden}"
    site = method.site
    switched = any(kinds.is_module(e.subject) and cls in e.subject.cls.mro for e in program.of("mode"))
    instances = program.instances.get(cls, [])
    matters = switched or any(graph.has_mode_layers(program, instance) is not False for instance in instances)
    new = "fit" if name == "train" else "evaluate"
    treatment = f"Call the method `{new}`, and leave `{name}` to torch.nn.Module."
    severity = None if matters else Severity.WARNING
    return Draft("ND310", site, message, (), Confidence.CERTAIN, severity, treatment)
