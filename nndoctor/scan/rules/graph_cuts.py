"""Layers that get no gradient or the wrong one: graphs cut in forward, leaves made twice, residuals overwritten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.parameters import switches
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.source import SourceFile
from nndoctor.scan.values import Choice, Const, Container, Instance, Lib, Site, Term, Tuple, Value, is_false

# What copies the numbers and leaves the graph behind, and is no stop-gradient that somebody asked for by its name.
_COPIES = frozenset("data numpy tolist tensor Tensor FloatTensor from_numpy".split()) | {"float number"}
MAX_WALK = 1000  # terms of one output; a larger graph is not decided


def _layers(terms: Iterable[Term]) -> dict[int, Lib]:
    """The layers with weights that computed these terms, by their id."""
    found = [(term.info or {}).get("layer") for term in terms]
    return {id(layer): layer for layer in found if type(layer) is Lib and _is_weighted(layer)}


def _is_weighted(layer: Lib) -> bool:
    return layer.kind == "layer" and layer.attrs.get("$operation") in torch_api.WEIGHTED_OPS


def _walk(value: Value, through: frozenset[str] = frozenset()) -> tuple[list[Term], list[Term]]:
    """What gradients reach from a tensor, and the copies at which they stop; nothing where there is too much.

    Operations in `through` are passed although they cut the graph.
    """
    reached: list[Term] = []
    copies: list[Term] = []
    stack, seen = [value], set()
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if len(seen) > MAX_WALK:
            return [], []
        if type(current) is Choice:
            stack.extend((current.then, current.otherwise))
        elif type(current) in (Tuple, Container):
            stack.extend(kinds.held(current))
        elif type(current) is Term and current.op in _COPIES - through:
            copies.append(current)
        elif type(current) is Term and (current.op in through or not _stops(current)):
            reached.append(current)
            stack.extend(current.inputs)
    return reached, copies


def _stops(term: Term) -> bool:
    if is_false(term.grad):
        return True
    return term.op in graph.CUTS


def _lost(copy: Term, live: dict[int, Lib]) -> list[Lib]:
    """The layers behind a copy that get no gradient on another way either."""
    behind = (term for value in copy.inputs for term in _walk(value, _COPIES | {"detach"})[0])
    return [layer for key, layer in _layers(behind).items() if key not in live]


@rule("ND305")
def graph_cut_in_forward(program: Program) -> Iterator[Draft]:
    sources = _sources_of_cuts(program)
    for event in program.of("output") if sources else ():
        if event.site.source not in sources:
            continue
        reached, copies = _walk(event.details["result"])
        live = _layers(reached) if copies else {}
        if not live:
            continue  # nothing trains behind the cut, or the whole output is cut
        own = {id(part) for part in kinds.descendants(event.subject)}
        for copy in copies:
            lost = [layer for layer in _lost(copy, live) if id(layer) in own and not _is_frozen(program, layer)]
            if lost and (site := copy.site) is not None:
                yield _cut(event, copy, site, lost[0])


def _sources_of_cuts(program: Program) -> set[SourceFile]:
    """The files in which something is copied that layers computed."""
    found: set[SourceFile] = set()
    for term in program.terms:
        if term.op in _COPIES and term.source is not None and term.source not in found and _lost(term, {}):
            found.add(term.source)
    return found


def _is_frozen(program: Program, layer: Lib) -> bool:
    """Whether somebody switched the gradients of a layer, or of a module around it, off."""
    return any(
        type(flag) is Const and not flag.value and layer in kinds.descendants(module)
        for module, flag, _ in switches(program)
        if type(module) in (Lib, Instance)
    )


def _cut(event: Event, copy: Term, site: Site, layer: Lib) -> Draft:
    message = f"`{wording.text(site)}` cuts the graph in {event.subject.cls.name}.forward: layers before it never train"
    evidence = ((layer.site, "gets no gradient"),)
    certain = copy.op not in ("data", "float number")
    return Draft("ND305", site, message, evidence, Confidence.CERTAIN if certain else Confidence.LIKELY)


@rule("ND312")
def leaf_made_twice(program: Program) -> Iterator[Draft]:
    yield from _copied_tensors(program)
    yield from _copied_models(program)


def _copied_tensors(program: Program) -> Iterator[Draft]:
    """`torch.tensor(features)` between two models: the first one is trained by nothing."""
    copies = [e for e in program.calls("torch.tensor") if id(e.details["result"]) in program.backpropagated]
    live = _layers(t for e in program.of("backward") for t in _walk(e.subject)[0]) if copies else {}
    trained = {id(part) for owner in _trained(program) for part in kinds.descendants(owner)} if copies else set()
    for event in copies:
        if any(frame.function is not None and frame.function.name == "forward" for frame in event.frames):
            continue  # ND305's
        result = event.details["result"]
        lost = [layer for layer in _lost(result, live) if id(layer) in trained] if live else []
        if not lost or any(term.op == "attribute" and term.inputs[-1] == "grad" for term in program.consumers(result)):
            continue
        site = wording.argument_site(event.site)
        message = (
            f"`{wording.text(event.site)}` is a new leaf: no gradient gets back to what computed `{wording.text(site)}`"
        )
        evidence = ((Site(lost[0].source, lost[0].node), "gets no gradient"),)
        yield Draft("ND312", event.site, message, evidence)


def _trained(program: Program) -> list[Value]:
    return [owner for event in program.of("optimizer") for owner in event.details["trained"] or ()]


def _copied_models(program: Program) -> Iterator[Draft]:
    """A deep copy is trained, and its original saved."""
    copies = [e for e in program.calls("copy.deepcopy") if type(e.details["result"]) in (Lib, Instance)]
    trained = {id(part) for owner in _trained(program) for part in kinds.descendants(owner)} if copies else set()
    for event in copies:
        copy, original = event.details["result"], event.details["args"].get(0, "x")
        if id(copy) not in trained or id(original) in trained or _is_loaded(program, original):
            continue
        saved = [save for save in program.calls("torch.save") if _holds(save.details["args"].get(0, "obj"), original)]
        if not saved or any(state.subject is copy for state in program.methods("state_dict")):
            continue
        name = wording.text(wording.argument_site(event.site))
        message = f"the optimizer trains this copy of `{name}`, and `{name}` is what is saved"
        yield Draft("ND312", event.site, message, ((saved[0].site, "saved here, as it was before training"),))


def _is_loaded(program: Program, model: Value) -> bool:
    return any(event.subject is model for event in program.methods("load_state_dict"))


def _holds(value: Value, model: Value) -> bool:
    """Whether what is saved is a model, its state, or a dict of such."""
    if value is model:
        return True
    if type(value) is Container:
        return any(_holds(item, model) for item in kinds.held(value))
    callee = kinds.callee(value)
    return type(callee) is Term and callee.op == "attribute" and callee.inputs == (model, "state_dict")


# ND309

_FUNCTIONS = tuple(
    f"torch.nn.functional.{name}" for name in "relu relu6 leaky_relu elu selu celu silu hardtanh mish dropout".split()
)
# What leaves alone whether every element is positive, so that a ReLU on it changes nothing.
_KEEPS_SIGN = frozenset("pool adaptive_pool dropout returned view reshape flatten identity".split())


@rule("ND309")
def in_place_on_saved(program: Program) -> Iterator[Draft]:
    writes = [(event, event.subject, event.details["result"]) for event in program.of("in place")]
    writes += list(_functional_writes(program))
    joined = _joined(program) if writes else {}
    for event, tensor, result in writes:
        if result.op == "relu" and _is_positive(tensor):
            continue
        sums = [term for term in program.consumers(tensor) if term.op in ("+", "-", "*")]
        readers = (term for term in (*sums, *joined.get(id(tensor), ())) if term is not result)
        reader = next((term for term in readers if _comes_after(term, result)), None)
        if reader is not None and (site := reader.site) is not None:
            yield _overwritten(event, tensor, result, site)


def _joined(program: Program) -> dict[int, list[Term]]:
    """The concatenations that each tensor takes part in, by the id of the tensor."""
    found: dict[int, list[Term]] = {}
    for term in program.terms:
        if term.op == "cat" and type(term.inputs[0]) in (Container, Tuple):
            for part in kinds.held(term.inputs[0]):
                found.setdefault(id(part), []).append(term)
    return found


def _functional_writes(program: Program) -> Iterator[tuple[Event, Value, Value]]:
    for event in program.calls(*_FUNCTIONS):
        args, result = event.details["args"], event.details["result"]
        flag, tensor = args.keywords.get("inplace"), args.get(0, "input")
        if type(flag) is Const and flag.value and type(tensor) is Term and type(result) is Term:
            yield event, tensor, result


def _is_positive(tensor: Term) -> bool:
    """Whether a ReLU went before."""
    while tensor.op in _KEEPS_SIGN and tensor.act is None and tensor.inputs and type(tensor.inputs[0]) is Term:
        tensor = tensor.inputs[0]
    return tensor.act in ("relu", "sigmoid", "softmax")


def _comes_after(reader: Term, result: Term) -> bool:
    """Whether a term was computed from the result of an operation, so that it cannot have been computed before it."""
    return any(term is result for term in graph.ancestors(reader))


def _overwritten(event: Event, tensor: Term, result: Term, reader: Site) -> Draft:
    unknown = tensor.op == "parameter" and result.op == "relu"  # the caller may have applied a ReLU
    message = f"`{wording.text(event.site)}` overwrites its input, and `{wording.text(reader)}` still uses that"
    evidence = ((reader, "gets the overwritten values"),)
    return Draft("ND309", event.site, message, evidence, Confidence.POSSIBLE if unknown else Confidence.LIKELY)
