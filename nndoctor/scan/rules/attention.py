"""Attention in models that predict the next element: whether a position can see the one it is to predict."""

from __future__ import annotations

from collections.abc import Iterator

from nndoctor.findings import Confidence
from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import graph
from nndoctor.scan.program import Event, Program
from nndoctor.scan.rules import wording
from nndoctor.scan.rules.registry import Draft, rule
from nndoctor.scan.rules.shifts import batch_behind, inputs_behind
from nndoctor.scan.values import Const, Lib, Term, Value, leaves


@rule("ND415")
def missing_causal_mask(program: Program) -> Iterator[Draft]:
    for event in program.of("loss"):
        if event.details["expects"] not in (torch_api.LOGITS, torch_api.LOG_PROBABILITIES):
            continue
        options, targets = event.tensors(event.subject), event.tensors(event.details["target"])
        if len(options) != 1 or len(targets) != 1:
            continue
        source = inputs_behind(options[0], targets[0]) or batch_behind(program, options[0], targets[0])
        if source is not None:
            yield from _unmasked(event, options[0], source)


def _unmasked(event: Event, logits: Term, source: Term) -> Iterator[Draft]:
    found = [a for term in graph.ancestors(logits, through_cuts=True) if (a := attention_of(term)) is not None]
    within = [a for a in found if _derives(a.query, source) and _derives(a.key, source)]
    if any(attention.masked for attention in within):
        return
    for attention in within:
        site = attention.term.site
        if site is None:
            continue
        message = f"`{wording.text(site)}` attends to later positions too, and each position is to predict the next one"
        evidence = ((event.site, "the target is the input shifted by one"), *wording.made_at(source))
        yield Draft("ND415", site, message, evidence, Confidence.CERTAIN, treatment=attention.treatment)


def _derives(value: Value, source: Term) -> bool:
    return any(term is source for term in graph.ancestors(value, through_cuts=True))


class Attention:
    """An attention of `query` over `key`; `masked` also if that is not known."""

    __slots__ = ("key", "masked", "query", "term", "treatment")

    def __init__(self, term: Term, query: Value, key: Value, masked: bool, treatment: str) -> None:
        self.term = term
        self.query = query
        self.key = key
        self.masked = masked
        self.treatment = treatment


_MASK = "`nn.Transformer.generate_square_subsequent_mask(length)`"


def attention_of(term: Term) -> Attention | None:
    """The attention that an operation is, if it is one."""
    if term.op in ("@", "einsum"):
        return _by_hand(term)
    args = (term.info or {}).get("args")
    known = _CALLS.get(_name(term))
    if known is None or args is None:
        return None
    query, key, mask, flag, treatment = known
    given = [args.get(i, name) for i, name in (query, key, *mask, flag)]
    masked = args.open or not all(_is_off(value) for value in given[2:])
    return Attention(term, given[0], given[1], masked, treatment)


def _name(term: Term) -> str:
    layer = (term.info or {}).get("layer")
    return layer.name if type(layer) is Lib else term.op


def _is_off(value: Value) -> bool:
    """Whether a mask or flag is certainly not given."""
    return value is None or all(type(leaf) is Const and leaf.value in (None, False) for leaf in leaves(value))


_Place = tuple[int, str]
_SRC, _TGT, _NOWHERE = (0, "src"), (0, "tgt"), -1
# Query, key, masks, flag, and what to write.
_CALLS: dict[str, tuple[_Place, _Place, tuple[_Place, ...], _Place, str]] = {
    "sdpa": ((0, "query"), (1, "key"), ((3, "attn_mask"),), (5, "is_causal"), "Pass `is_causal=True`."),
    "MultiheadAttention": (
        (0, "query"),
        (1, "key"),
        ((5, "attn_mask"),),
        (7, "is_causal"),
        f"Pass `attn_mask=` {_MASK}.",
    ),
    "TransformerEncoder": (
        _SRC,
        _SRC,
        ((1, "mask"), (_NOWHERE, "src_mask")),
        (3, "is_causal"),
        f"Pass `mask=` {_MASK}, and `is_causal=True` if you like.",
    ),
    "TransformerEncoderLayer": (_SRC, _SRC, ((1, "src_mask"),), (3, "is_causal"), f"Pass `src_mask=` {_MASK}."),
    "TransformerDecoder": (_TGT, _TGT, ((2, "tgt_mask"),), (6, "tgt_is_causal"), f"Pass `tgt_mask=` {_MASK}."),
    "TransformerDecoderLayer": (_TGT, _TGT, ((2, "tgt_mask"),), (6, "tgt_is_causal"), f"Pass `tgt_mask=` {_MASK}."),
    "Transformer": (
        (1, "tgt"),
        (1, "tgt"),
        ((3, "tgt_mask"),),
        (_NOWHERE, "tgt_is_causal"),
        f"Pass `tgt_mask=` {_MASK}.",
    ),
}


def _by_hand(term: Term) -> Attention | None:
    """`softmax(q @ k) @ v`; masked if anything but a scale comes between product and softmax."""
    weights = _operands(term)[:1]
    softmax = _below(weights[0], frozenset({"dropout"})) if weights else None
    if softmax is None or softmax.op != "softmax" or not softmax.inputs:
        return None
    scores = _below(softmax.inputs[0], frozenset({"/"}))
    while scores is not None and scores.op == "*":
        scores = _scaled(scores)
    masked = scores is None or scores.op not in ("@", "einsum")
    product = scores if not masked else _product_behind(softmax)
    factors = _operands(product) if product is not None else ()
    if len(factors) < 2:
        return None
    site = softmax if softmax.node is not None else term
    return Attention(site, factors[0], factors[1], masked, _TRIANGLE)


_TRIANGLE = "Before the softmax: `scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float('-inf'))`."


def _operands(product: Term) -> tuple[Value, ...]:
    return tuple(v for v in product.inputs if type(v) is Term)[:2]


_RESHAPED = torch_api.TRANSPARENT - {"masked_fill", "cat", "stack", "gather", "flip", "roll", "index"}


def _below(value: Value, through: frozenset[str]) -> Term | None:
    """The operation under changes of shape and those named."""
    while type(value) is Term and value.op in _RESHAPED | through and value.inputs:
        value = value.inputs[0]
    return value if type(value) is Term else None


def _scaled(product: Term) -> Term | None:
    """The product among the factors, if the others are no tensors."""
    sources = [_below(value, frozenset({"/"})) for value in product.inputs]
    products = [source for source in sources if source is not None and source.op in ("@", "einsum", "*")]
    shaped = [value for value in product.inputs if type(value) is Term and value.shape is not None]
    return products[0] if len(products) == 1 and len(shaped) < 2 else None


def _product_behind(softmax: Term) -> Term | None:
    return next((t for t in graph.ancestors(softmax, through_cuts=True) if t.op in ("@", "einsum")), None)
