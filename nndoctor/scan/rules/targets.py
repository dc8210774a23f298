"""Targets that a model already has before it: next-token training without a shift."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph, kinds
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.attention import attention_of
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.shifts import are_same
from nndoctor.scan.values import Api, Choice, Const, Container, Lib, Term, Tuple, Value

_EMBEDDINGS = frozenset({"embedding", "one_hot"})
# Operations that leave each position where it is.
_IN_PLACE = (
    torch_api.ACTIVATION_OPS
    | _EMBEDDINGS
    | frozenset(
        """view reshape flatten unflatten squeeze unsqueeze permute transpose transposed contiguous to cuda float double
        half bfloat16 type clone expand data identity forward returned checkpoint chunk split unbind linear norm dropout
        + - * / @ ** softmax log_softmax masked_fill where einsum rnn attention transformer sdpa sum mean rearrange
        detach pack_padded_sequence pad_packed_sequence exp sqrt normalize type_as""".split()
    )
)
_PIECES = frozenset({"chunk", "split", "unbind"})
_TRIANGLES = frozenset({"tril", "triu"})
_CAUSAL = re.compile(r"^(?!.*(?:Bert|Electra|XL)).*(?:ForCausalLM|LMHeadModel)$", re.IGNORECASE)
_SHAPING = frozenset("view reshape flatten contiguous float to cuda transpose permute squeeze forward returned".split())


@rule("ND610")
def target_is_input(program: Program) -> Iterator[Draft]:
    found: dict[int, list[tuple[Event, Term | None]]] = {}
    for event in program.of("loss"):
        if event.details["expects"] in (torch_api.LOGITS, torch_api.LOG_PROBABILITIES):
            found.setdefault(id(event.site.node), []).append((event, _fed(event)))
    for events in found.values():
        event, fed = events[-1]
        if fed is not None and all(other is not None for _, other in events):  # else the input is that of a step before
            yield _unshifted(event, fed)


def _fed(event: Event) -> Term | None:
    """Where the target of a loss is given to the model that is to predict it."""
    options, targets = event.tensors(event.subject), event.tensors(event.details["target"])
    if len(options) != 1 or len(targets) != 1 or type(options[0]) is not Term or type(targets[0]) is not Term:
        return None
    return _fed_to_library(options[0], targets[0]) or _fed_to_own(options[0], targets[0])


def _unshifted(event: Event, fed: Term) -> Draft:
    evidence = wording.made_at(fed)
    message = (
        f"`{wording.text(event.site)}` asks for the tokens that the model is given, not for those that follow them"
    )
    return Draft("ND610", event.site, message, tuple((site, "the same tokens go in here") for site, _ in evidence))


# Models of transformers -----------------------------------------------------------------------------------------------


def _fed_to_library(logits: Term, target: Term) -> Term | None:
    """The call of a causal language model of transformers that is given the target."""
    output: Value = logits
    while type(output) is Term and output.op in _SHAPING and output.inputs:
        output = output.inputs[0]
    call = output.inputs[0] if type(output) is Term and output.op in ("attribute", "item") and output.inputs else None
    if type(call) is not Term or call.op not in ("call", "forward") or not _is_causal_model(call):
        return None
    return call if any(are_same(value, target) for value in call.inputs[1:]) else None


def _is_causal_model(call: Term) -> bool:
    model: Value = call.inputs[1] if call.op == "forward" else call.inputs[0]
    while type(model) is Term and model.op in ("to", "cuda", "half", "bfloat16", "call") and model.inputs:
        if type(model.inputs[0]) is Api:
            name = model.inputs[0].name
            return name.startswith("transformers.") and any(map(_CAUSAL.match, name.split(".")))
        model = model.inputs[0]
    return False


# Models of the project ------------------------------------------------------------------------------------------------


def _fed_to_own(logits: Term, target: Term) -> Term | None:
    """The embedding of the target's tokens, if each position of the logits has seen its own token and no later one."""
    terms = list(graph.ancestors(logits, through_cuts=True))
    embedded = [t for t in terms if t.op in _EMBEDDINGS and t.inputs and are_same(t.inputs[0], target)]
    way = _between(terms, embedded) if embedded else {}
    if not way or id(logits) not in way or not all(map(_stays, way.values())):
        return None
    looks = [look for look in (_looks_back(term, way) for term in way.values()) if look is not None]
    triangular = any(term.op in _TRIANGLES or _is_named_triangle(term) for term in terms)
    causal = bool(looks) and all(look is True or (look == "masked" and triangular) for look in looks)
    return embedded[0] if causal else None


def _between(terms: list[Term], start: list[Term]) -> dict[int, Term]:
    """The operations that are computed from some of the terms, and these themselves."""
    users: dict[int, list[Term]] = {}
    for term in terms:
        for value in _parts(term.inputs):
            users.setdefault(id(value), []).append(term)
    found: dict[int, Term] = {}
    stack = list(start)
    while stack:
        term = stack.pop()
        if id(term) not in found:
            found[id(term)] = term
            stack.extend(users.get(id(term), ()))
    return found


def _parts(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if type(value) in (Tuple, Container):
            yield from _parts(kinds.held(value))
        elif type(value) is Choice:
            yield from _parts((value.then, value.otherwise))
        else:
            yield value


def _stays(term: Term) -> bool:
    """Whether an operation leaves each position where it is."""
    if term.op in ("index", "part"):
        source = term.inputs[0]
        return type(source) is Term and source.op in _PIECES
    return term.op in _IN_PLACE


def _looks_back(term: Term, way: dict[int, Term]) -> bool | str | None:
    """How an operation mixes positions: True if only with earlier ones, "masked" if by a mask, None if not at all."""
    layer = (term.info or {}).get("layer")
    if term.op == "rnn":
        direction = layer.args.get("bidirectional", Const(False)) if type(layer) is Lib else None
        return type(direction) is Const and not direction.value
    attention = attention_of(term)
    if attention is None:
        return False if term.op in ("attention", "transformer", "sdpa") else None
    if id(attention.query) not in way or id(attention.key) not in way:
        return False
    return "masked" if attention.masked and not _sees_memory(term, way) else False


def _sees_memory(term: Term, way: dict[int, Term]) -> bool:
    """Whether a decoder also attends to something that was made of the same tokens."""
    layer = (term.info or {}).get("layer")
    if type(layer) is not Lib or "Decoder" not in layer.name:
        return type(layer) is Lib and layer.name == "Transformer"
    return len(term.inputs) > 1 and id(term.inputs[1]) in way


def _is_named_triangle(term: Term) -> bool:
    """Whether this is torch's own causal mask, or attention that is told to be causal."""
    args = (term.info or {}).get("args")
    flag = args.keywords.get("is_causal") if args is not None else None
    if type(flag) is Const and flag.value:
        return True
    callee = kinds.callee(term)
    return type(callee) is Api and callee.name.endswith("generate_square_subsequent_mask")
