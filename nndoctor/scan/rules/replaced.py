"""Names and arguments that newer torch and torchvision removed, renamed or gave another default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst

from nndoctor.findings import Severity
from nndoctor.scan import torch_api
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.repairs import Repair, instead, with_argument
from nndoctor.scan.torch_api.replaced import DEVICE_FIRST, REPLACED, Replaced
from nndoctor.scan.values import Const, Site

_STFT_REMOVED = (2, 0)  # from here on it refuses real signals without `return_complex`
_REDUCTIONS = {("size_average", True): "mean", ("size_average", False): "sum", ("reduce", False): "none"}


@rule("ND701")
def replaced_name(program: Program) -> Iterator[Draft]:
    for event in program.of("call", "import"):
        name = event.details["name"] if event.kind == "import" else event.subject.name
        found = _found(event.kind, name)
        if found is None or not _is_available(program, found.since) or (event.kind == "call" and _is_bare(event)):
            continue
        state = f"was removed in {_version(found, name)}" if found.removed else "is deprecated"
        message = f"`{_shown(event, name)}` {state}: use {_quoted(found.by)}"
        yield Draft("ND701", event.site, message, treatment=f"Use {_quoted(found.by)}.", repair=_renamed(event, found))


def _found(kind: str, name: str) -> Replaced | None:
    """What is known of a name, or of the module that it is imported from; `torch.fft` is a module now."""
    if kind == "call":
        return REPLACED.get(name)
    return REPLACED.get(name if name != "torch.fft" else "") or REPLACED.get(name.rpartition(".")[0])


def _is_available(program: Program, since: tuple[int, int]) -> bool:
    """Whether the oldest torch that the project supports has the replacement."""
    return program.minimum_torch is None or since <= program.minimum_torch


def _is_bare(event: Event) -> bool:
    """Whether it is called by a name of its own, which an import bound: it is reported there."""
    return type(getattr(event.site.node, "func", None)) is not cst.Attribute


def _version(found: Replaced, name: str) -> str:
    assert found.removed is not None
    major, minor = found.removed
    if name.startswith("torchvision"):
        return f"the torchvision of torch {major}.{minor}"
    return f"the torchtext of torch {major}.{minor}" if name.startswith("torchtext") else f"torch {major}.{minor}"


def _shown(event: Event, name: str) -> str:
    node: Any = event.site.node
    return wording.code(Site(event.site.source, node.func)) if event.kind == "call" else name


def _quoted(words: str) -> str:
    return words if " " in words and "(" not in words.split(maxsplit=1)[0] else f"`{words}`"


def _renamed(event: Event, found: Replaced) -> Repair | None:
    """The new name in the place of the old one, where both begin with what the code has a name for."""
    node: Any = event.site.node
    if event.kind != "call" or type(node) is not cst.Call or type(node.func) is not cst.Attribute:
        return None
    name = event.subject.name
    device = DEVICE_FIRST.get(name)
    new = device[0] if device else found.by
    spelt = _spelt(wording.code(Site(event.site.source, node.func)), name, new)
    if spelt is None or not (found.same_call or device):
        return None
    if device is None:
        return instead(Site(event.site.source, node.func), spelt, f"write `{spelt}`")
    arguments = wording.code(event.site)[len(wording.code(Site(event.site.source, node.func))) :].lstrip()[1:]
    separator = "" if arguments.strip() == ")" else ", "
    return instead(event.site, f"{spelt}({device[1]}{separator}{arguments}", f"write `{spelt}({device[1]}, ...)`")


def _spelt(code: str, old: str, new: str) -> str | None:
    """`th.cholesky` for torch.cholesky becomes `th.linalg.cholesky`: what stands for the common beginning stays."""
    parts, names = code.split("."), old.split(".")
    shared = len(names) - len(parts) + 1  # how much of the dotted name the first part of the code stands for
    head = ".".join(names[:shared])
    if shared < 1 or parts[1:] != names[shared:] or not new.startswith(f"{head}."):
        return None
    return f"{parts[0]}{new[len(head) :]}"


@rule("ND701")
def spectrogram_without_return_complex(program: Program) -> Iterator[Draft]:
    for event in program.calls("torch.stft"):
        args = event.details["args"]
        if not args.open and "return_complex" not in args.keywords and len(args.positional) < 10:
            message = "`torch.stft` refuses real signals without `return_complex` since torch 2.0"
            yield Draft("ND701", event.site, message, treatment="Pass `return_complex=True`; the result is complex.")


@rule("ND701")
def replaced_reduction(program: Program) -> Iterator[Draft]:
    losses = program.calls(
        *(f"torch.nn{'' if name[0].isupper() else '.functional'}.{name}" for name in torch_api.LOSSES)
    )
    for event in losses:
        for (name, given), reduction in _REDUCTIONS.items():
            value = event.details["args"].keywords.get(name)
            if type(value) is Const and value.value is given:
                message = f'`{name}={given}` is deprecated: write `reduction="{reduction}"`'
                repair = _named_reduction(event, name, reduction)
                yield Draft("ND701", event.site, message, severity=Severity.INFO, repair=repair)


def _named_reduction(event: Event, name: str, reduction: str) -> Repair | None:
    node: Any = event.site.node
    if {"reduction", "size_average", "reduce"} & (event.details["args"].keywords.keys() - {name}):
        return None
    argument = next((arg for arg in node.args if arg.keyword is not None and arg.keyword.value == name), None)
    text = f'reduction="{reduction}"'
    return instead(Site(event.site.source, argument), text, f"write `{text}`") if argument is not None else None


@rule("ND707")
def reentrant_checkpoint(program: Program) -> Iterator[Draft]:
    for event in program.calls("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential"):
        args = event.details["args"]
        if not args.open and "use_reentrant" not in args.keywords and _is_available(program, (1, 11)):
            function = wording.code(Site(event.site.source, event.site.node.func))  # type: ignore[attr-defined]
            message = f"`{function}` does not say whether it is re-entrant, and torch is about to change the default"
            yield Draft("ND707", event.site, message, repair=_not_reentrant(event))


def _not_reentrant(event: Event) -> Repair | None:
    node: Any = event.site.node
    return with_argument(event.site, "use_reentrant=False", safe=False) if node.args else None


_WEIGHTS = {"pretrained": "weights", "pretrained_backbone": "weights_backbone"}
_DETECTION = ("torchvision.models.detection", "torchvision.models.segmentation")


@rule("ND709")
def pretrained_argument(program: Program) -> Iterator[Draft]:
    for event in program.of("call"):
        name = event.details["name"]
        if not name.startswith("torchvision.models.") or not _is_available(program, (1, 12)):
            continue
        args = event.details["args"]
        for old, new in _WEIGHTS.items():
            if old in args.keywords and not name.endswith("_Weights"):
                message = f"`{old}` is deprecated since torchvision 0.13: `{new}` says which weights"
                yield Draft("ND709", event.site, message, repair=_weights(event, name, old, new))


def _weights(event: Event, name: str, old: str, new: str) -> Repair | None:
    """`weights="IMAGENET1K_V1"`, which is what `pretrained=True` loads."""
    node: Any = event.site.node
    value = event.details["args"].keywords[old]
    argument = next((arg for arg in node.args if arg.keyword is not None and arg.keyword.value == old), None)
    if type(value) is not Const or type(value.value) is not bool or argument is None:
        return None
    if value.value and name.startswith(_DETECTION) and old == "pretrained":
        weights = '"DEFAULT"'
    else:
        weights = '"IMAGENET1K_V1"' if value.value else "None"
    text = f"{new}={weights}"
    return instead(Site(event.site.source, argument), text, f"write `{text}`")
