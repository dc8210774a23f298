"""Random programs that resemble training code: they parse, but mean nothing in particular."""

from __future__ import annotations

from hypothesis import strategies as st

VARIABLES = ("x", "y", "z", "model", "loss", "optimizer", "loader", "self", "out", "flag", "items", "i", "criterion")
FUNCTIONS = """
    nn.Linear nn.Sequential nn.ModuleList nn.ModuleDict nn.Dropout nn.BatchNorm2d nn.Softmax nn.LSTM
    nn.Embedding nn.MultiheadAttention nn.CrossEntropyLoss nn.DataParallel nn.Parameter F.softmax
    F.cross_entropy F.dropout F.nll_loss F.relu F.binary_cross_entropy_with_logits torch.cat torch.stack
    torch.no_grad torch.clamp torch.zeros torch.tensor torch.from_numpy torch.amp.GradScaler
    torch.utils.data.DataLoader torch.save torch.autograd.backward torch.compile optim.SGD
    optim.lr_scheduler.StepLR nn.utils.clip_grad_norm_ copy.deepcopy functools.partial len range enumerate zip
    super list dict tuple map next iter isinstance getattr setattr sum int float sorted reversed print unknown
    Net helper OrderedDict
""".split()
METHODS = """
    backward step zero_grad train eval parameters named_parameters to item detach view permute reshape size
    append extend items values keys get update pop insert softmax log sum mean chunk split squeeze unsqueeze
    transpose flatten scale unscale_ add_module state_dict load_state_dict children modules apply clamp_ zero_
    copy forward setdefault format register_forward_hook remove clear numpy byte float half
""".split()
ATTRIBUTES = ("grad", "data", "shape", "weight", "layers", "training", "head", "param_groups", "T", "dtype", "module")
OPERATORS = "+|-|*|/|//|%|**|@|<<|&|==|!=|<|>=|is|is not|in|and|or".split("|")
CONSTANTS = ("0", "1", "-1", "2", "0.5", "1e-3", "8", "None", "True", "False", '"train"', "''", "...", "10 ** 9")
DECORATORS = (
    "@torch.no_grad()",
    "@property",
    "@staticmethod",
    "@classmethod",
    "@helper",
    "@contextmanager",
    "@dataclass",
)
BASES = ("", "(nn.Module)", "(nn.Sequential)", "(Net)", "(torch.autograd.Function)", "(Dataset, Mixin)", "(optim.SGD)")
PARAMETERS = ("", "x", "self", "self, x", "x, y=1", "*args, **kw", "x, *, flag=False", "self, x=None, *args", "x, /, y")

atoms = st.one_of(st.sampled_from(VARIABLES), st.sampled_from(CONSTANTS))


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(_argument(inner), max_size=3).map(_in_order)
    return st.one_of(
        st.builds("{}({})".format, st.sampled_from(FUNCTIONS), arguments),
        st.builds("{}.{}({})".format, inner.map(_operand), st.sampled_from(METHODS), arguments),
        st.builds("{}.{}".format, inner.map(_operand), st.sampled_from(ATTRIBUTES)),
        st.builds("{}[{}]".format, inner.map(_operand), st.one_of(inner, st.just(":"), st.just("..., None, 1:2"))),
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{} for i in {} if {}]".format, inner, inner, inner),
        st.builds("{{{}: {}, **{}}}".format, inner, inner, inner),
        st.builds("({}, *{})".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("(lambda x, y=1: {})".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner.map(_operand)),
        st.builds("(z := {})".format, inner),
        st.builds('f"{{({})}}"'.format, st.sampled_from(VARIABLES)),
    )


def _argument(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    keywords = st.sampled_from(("dim", "lr", "p", "reduction", "set_to_none", "training", "max", "params"))
    starred = st.sampled_from(("*items", "**kw", "*x", "*[1, 2]"))
    return st.one_of(inner, inner, st.builds("{}={}".format, keywords, inner), starred)


def _in_order(arguments: list[str]) -> str:
    """Positions, then what is starred, then keywords, each name once: what Python accepts."""
    keywords = {argument.split("=")[0]: argument for argument in arguments if _is_keyword(argument)}
    others = [argument for argument in arguments if not _is_keyword(argument)]
    others.sort(key=lambda argument: argument.count("*", 0, 2))
    return ", ".join(
        [*(a for a in others if not a.startswith("**")), *keywords.values(), *(a for a in others if a[:2] == "**")]
    )


def _is_keyword(argument: str) -> bool:
    return argument.partition("=")[0].isidentifier() and "=" in argument


def _operand(expression: str) -> str:
    return f"({expression})" if expression[0] in "-0123456789." or " " in expression else expression


expressions = st.recursive(atoms, _compound, max_leaves=6)
targets = st.sampled_from(
    (
        *VARIABLES,
        "x, y",
        "x, *y",
        "self.x",
        "self.layers[0]",
        "x[i]",
        "(x, (y, z))",
        "p.grad",
        "model.training",
        "[x, y]",
    )
)
simple = st.one_of(
    expressions,
    st.builds("{} = {}".format, targets, expressions),
    st.builds("x = y = {}".format, expressions),
    st.builds("{} {}= {}".format, st.sampled_from(("x", "loss", "self.total")), st.sampled_from("+-*/"), expressions),
    st.builds("x: int = {}".format, expressions),
    st.builds("del {}".format, st.sampled_from(("x", "x[0]", "self.x", "p.grad"))),
    st.builds("assert {}".format, expressions),
    st.sampled_from(
        ("pass", "raise ValueError", "import torch", "from torch import *", "global model", "import missing.part")
    ),
)
in_loops = st.one_of(simple, st.sampled_from(("break", "continue")))
in_functions = st.one_of(
    simple,
    st.builds("return {}".format, expressions),
    st.builds("yield {}".format, expressions),
    st.just("yield from items"),
    st.just("super().__init__()"),
    st.just("return"),
)


def _block(head: str, *bodies: list[str]) -> list[str]:
    """A compound statement: its headers are separated by `;`, each has a body."""
    lines = []
    for header, body in zip(head.split(";"), bodies, strict=True):
        lines += [f"{header}:", *(f"    {line}" for line in body or ["pass"])]
    return lines


def _blocks(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    loop = st.lists(st.one_of(inner, in_loops.map(_line)), min_size=1, max_size=4).map(_flat)
    function = st.lists(st.one_of(inner, in_functions.map(_line)), min_size=1, max_size=4).map(_flat)
    body = st.lists(inner, min_size=1, max_size=3).map(_flat)
    return st.one_of(
        st.builds(_block, st.builds("if {}".format, expressions), body),
        st.builds(_block, st.builds("if {};elif flag;else".format, expressions), body, body, body),
        st.builds(_block, st.builds("for {} in {}".format, targets, expressions), loop),
        st.builds(_block, st.builds("for i in {};else".format, expressions), loop, body),
        st.builds(_block, st.builds("while {}".format, expressions), loop),
        st.builds(_block, st.builds("with {} as x, torch.no_grad()".format, expressions), body),
        st.builds(_block, st.just("try;except (ValueError, E) as e;else;finally"), body, body, body, body),
        st.builds(_block, st.builds("def helper({})".format, st.sampled_from(PARAMETERS)), function),
        st.builds(_decorated, st.sampled_from(DECORATORS), st.sampled_from(PARAMETERS), function),
        st.builds(
            _class, st.sampled_from(BASES), st.lists(st.tuples(st.sampled_from(PARAMETERS), function), max_size=3)
        ),
        st.builds(_match, expressions, body, body),
    )


def _line(statement: str) -> list[str]:
    return [statement]


def _flat(parts: list[list[str]]) -> list[str]:
    return [line for part in parts for line in part]


def _decorated(decorator: str, parameters: str, body: list[str]) -> list[str]:
    return [decorator, *_block(f"def helper({parameters})", body)]


def _class(bases: str, methods: list[tuple[str, list[str]]]) -> list[str]:
    names = ("__init__", "forward", "__exit__")
    body = [
        line
        for name, (parameters, lines) in zip(names, methods, strict=False)
        for line in _block(f"def {name}({parameters})", lines)
    ]
    return _block(f"class Net{bases}", body)


def _match(subject: str, first: list[str], other: list[str]) -> list[str]:
    return [f"match {subject}:", *(f"    {line}" for line in _block('case "train" | 1;case [x, *_]', first, other))]


statements = st.recursive(simple.map(_line), _blocks, max_leaves=10)
HEADER = """import torch, copy, functools
from torch import nn, optim
from torch.nn import functional as F
from contextlib import contextmanager
from collections import OrderedDict
from dataclasses import dataclass
"""
programs = st.lists(statements, min_size=1, max_size=6).map(lambda parts: HEADER + "\n".join(_flat(parts)) + "\n")
