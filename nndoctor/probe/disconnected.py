"""Which trainable parameters the training passes by: not registered, in no optimizer, never used, cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor, nn

from nndoctor.findings import Confidence, Finding, Severity
from nndoctor.probe.layers import covering, enumerated, is_mentioned, making, owner_is_users, place_of
from nndoctor.probe.operations import Place
from nndoctor.probe.registry import finding
from nndoctor.probe.subject import Subject
from nndoctor.probe.updating import Training, find_cut, without_outputs

# Names of networks that are made to follow another one without gradients.
FOLLOWERS = re.compile(r"target|teacher|ema|momentum|frozen|pretrained|_k\b", re.IGNORECASE)
REGISTERED = {"list": "an nn.ModuleList", "tuple": "an nn.ModuleList", "dict": "an nn.ModuleDict"}


def disconnected(subject: Subject, training: Training) -> Iterator[Finding]:
    """Every such group of parameters, with the line that makes or loses it."""
    yield from _unregistered(subject, training)
    yield from _unowned(subject, training)
    yield from _unused(subject, training)
    yield from _cut_off(subject, training)


def _unregistered(subject: Subject, training: Training) -> Iterator[Finding]:
    """Layers in a list or a dictionary: they take part in the loss, and no optimizer ever sees them."""
    hidden = {id(parameter) for parameter in training.hidden}
    for path, module in subject.model.named_modules():
        for attribute, value in vars(module).items():
            count = 0 if attribute.startswith("_") else len({id(each) for each in _contained(value)} & hidden)
            if count:
                yield _not_registered(subject, f"{path}.{attribute}".lstrip("."), type(value).__name__, count)


def _not_registered(subject: Subject, name: str, kind: str, count: int) -> Finding:
    location, line = place_of(subject, name)
    return finding(
        "NDP08",
        f"`{name}` is a plain {kind}, so the model does not know the {count} parameters in it: the optimizer, "
        "`state_dict()`, `to()` and `train()` pass them by",
        treatment=f"Make it {REGISTERED.get(kind, 'a module')}; for bare parameters there is nn.ParameterList.",
        confidence=Confidence.CERTAIN,
        location=location,
        source_line=line,
        measurements={"cause": "not registered", "parameter": name},
    )


def _contained(value: object) -> Iterator[Tensor]:
    match value:
        case nn.Module():
            yield from value.parameters()
        case nn.Parameter():
            yield value
        case list() | tuple():
            for part in value:
                yield from _contained(part)
        case dict():
            for part in value.values():
                yield from _contained(part)


def _unowned(subject: Subject, training: Training) -> Iterator[Finding]:
    """Parameters with a gradient that the user's optimizer does not have.

    One that has parameters of no model was made before a layer was replaced. Otherwise it may be meant so: features
    that are only used, or a second optimizer; a last layer that nobody trains is seldom meant.
    """
    left_out = [name for name in training.trainable if name in training.pulled - training.owned]
    if not left_out or subject.optimizer is None or _has_another(subject):
        return
    names = list(covering(subject.model, training.named(left_out)))
    message = f"the optimizer does not have {enumerated(names)}: there is a gradient, and nothing moves"
    treatment = "Give the optimizer these parameters too, or freeze them with `requires_grad_(False)`."
    if training.foreign:
        message = (
            f"the optimizer does not have {enumerated(names)}, but {training.foreign} parameters that are not the "
            "model's: it was made before a layer was replaced"
        )
        treatment = "Make the optimizer after the last change of the model's layers."
    place = subject.optimizer if subject.optimizer.location else subject
    is_last = training.trainable[-1] in left_out
    yield finding(
        "NDP08",
        message,
        treatment=treatment,
        severity=Severity.ERROR if training.foreign else Severity.WARNING,
        confidence=_sureness(certain=bool(training.foreign), likely=is_last),
        location=place.location,
        source_line=place.source_line,
        measurements={
            "cause": "optimizer made too early" if training.foreign else "in no optimizer",
            "parameter": names[0],
        },
    )


def _has_another(subject: Subject) -> bool:
    with subject.sandbox():
        return subject.optimizer is not None and subject.optimizer.makes_several(subject.model)


def _sureness(*, certain: bool, likely: bool) -> Confidence:
    if certain:
        return Confidence.CERTAIN
    return Confidence.LIKELY if likely else Confidence.POSSIBLE


# ---------------------------------------------------------------------------------------------- no gradient


def _idle(training: Training) -> list[str]:
    """Trainable, in the optimizer, and without a gradient, while others have one."""
    if not training.reached:
        return []
    return [name for name in training.trainable if name in training.owned - training.reached]


def _unused(subject: Subject, training: Training) -> Iterator[Finding]:
    """Layers that run in neither mode and that nothing reads but what sets them up."""
    seen = training.in_training.seen | training.in_eval.seen
    for path in covering(subject.model, training.named(_idle(training))):
        made = making(subject.model, path)
        if path in seen or made is None or not owner_is_users(subject.model, path):
            continue
        if is_mentioned(made) and not _ends_a_list(subject.model, path, seen):
            continue
        yield finding(
            "NDP08",
            f"`{path}` ({_size(subject.model, path):,} parameters) is never used: it does not run in forward",
            treatment=f"Call `{path}` in forward, or remove it.",
            severity=Severity.WARNING,
            location=made.location,
            source_line=made.source_line,
            measurements={"cause": "never used", "parameter": path},
        )


def _ends_a_list(model: nn.Module, path: str, seen: set[str]) -> bool:
    """Whether it is the first or the last of a list of layers, all others of which run: a loop that ends too early."""
    parent, _, index = path.rpartition(".")
    siblings = model.get_submodule(parent)
    if not isinstance(siblings, nn.ModuleList) or len(siblings) < 2 or index not in ("0", str(len(siblings) - 1)):
        return False
    return all(f"{parent}.{number}" in seen for number in range(len(siblings)) if str(number) != index)


def _size(model: nn.Module, path: str) -> int:
    inside = [each for name, each in model.named_parameters() if f"{name}.".startswith(f"{path}.")]
    return sum(parameter.numel() for parameter in inside)


def _cut_off(subject: Subject, training: Training) -> Iterator[Finding]:
    """Layers that run with gradients enabled, and whose results reach neither the loss nor the outputs."""
    with_graph = training.in_training.with_graph
    idle = [name for name in _idle(training) if name.rpartition(".")[0] in with_graph]
    if idle:
        with subject.sandbox():
            idle = without_outputs(subject, training, idle)
    paths = [path for path in covering(subject.model, training.named(idle)) if _is_blamed(subject.model, path)]
    if not paths:
        return
    name, place = cut(subject, paths)
    what = f"`{name}` cuts {enumerated(paths)} off" if name else f"what {enumerated(paths)} computes is not used"
    location, line = place if place[0] else place_of(subject, paths[0])
    yield finding(
        "NDP08",
        f"{what}: no gradient reaches {sum(_size(subject.model, path) for path in paths):,} trainable parameters",
        treatment=f"Take the `{name}` away, or freeze what is in front of it with `requires_grad_(False)`."
        if name
        else "Let its result reach the loss, or remove the layer.",
        severity=Severity.ERROR if name else Severity.WARNING,
        location=location,
        source_line=line,
        measurements={"cause": "cut off" if name else "not used", "parameter": paths[0]},
    )


def _is_blamed(model: nn.Module, path: str) -> bool:
    """Not for single parameters of a layer, such as a mask token, which not every forward needs."""
    is_layer = path not in dict(model.named_parameters())
    return is_layer and owner_is_users(model, path) and not FOLLOWERS.search(path)


def cut(subject: Subject, paths: list[str]) -> tuple[str, Place]:
    """Name and place of the operation that cuts the modules off, or everything if none are named."""
    try:
        with subject.sandbox():
            found = find_cut(subject, subject.batches.first(1)[0], paths)
    except Exception:  # what cannot be run under the recorder is blamed without a line
        found = None
    return (found.name, found.place) if found else ("", (None, None))
