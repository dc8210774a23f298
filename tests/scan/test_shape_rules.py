"""The shapes that operations and layers give, held against the shapes that torch gives; and the views they uncover."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path

import pytest
import torch
from programs import MAIN, marks, only, program_text, reported, run, scan_files
from torch import nn
from torch.nn import functional

from nndoctor.scan.shapes import Shape
from nndoctor.scan.values import Term

# Inside a model, where the analyser reads the sizes of `torch.zeros`. a is a batch of sequences, i of images.
SETUP = """
a, b, m, i = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5), torch.zeros(2, 3, 8, 6)
row, one, labels = torch.zeros(4), torch.zeros(1, 3, 4), torch.zeros(2, 3).long()
"""
MODEL = """
    class Model(nn.Module):
        def forward(self):
            {setup}
            show({expression}, a)
"""

KNOWN = """
a + b
a + row
row * a
one - a
a * one
a == one
a @ m
one @ m
a @ row
row @ m
torch.bmm(a, m)
torch.matmul(one, m)
torch.baddbmm(torch.zeros(2, 3, 5), a, m)
torch.einsum("bij,bjk->bik", a, m)
torch.einsum("bij, bkj -> b k i", a, b)
torch.einsum("bij->ij", one)
a.permute(2, 0, 1)
a.permute(dims=(1, 0, 2))
torch.permute(a, (0, 2, 1))
a.transpose(1, 2)
a.transpose(-1, 0)
a.transpose(dim0=0, dim1=2)
a.swapaxes(0, 1)
a.mT
a[0].T
a[:, 0]
a[..., 0]
a[:, None]
i[0, ..., 1]
i[:, :, -1]
a[None]
a[0].t()
torch.movedim(i, 1, -1)
i.movedim((0, 1), (2, 0))
torch.moveaxis(i, [3], [0])
a.flatten()
a.flatten(1)
i.flatten(1, 2)
i.flatten(start_dim=-2)
torch.flatten(i, 2)
nn.Flatten()(i)
nn.Flatten(0, 1)(i)
a.ravel()
a.unflatten(2, (2, 2))
i.unflatten(-1, (3, -1))
nn.Unflatten(1, (3, 1))(a)
a.view(6, 4)
a.reshape(-1, 2)
a.view_as(b)
a.unsqueeze(0)
a.unsqueeze(-1)
a.unsqueeze(dim=-2)
torch.unsqueeze(a, 1)
one.squeeze()
one.squeeze(0)
a.squeeze(1)
one.squeeze(-3)
a.select(1, 0)
a.narrow(1, 0, 2)
a.narrow(-1, 1, 3)
a.chunk(2, dim=-1)[0]
a.split(2, dim=2)[1]
a.unbind(1)[0]
one.expand(5, -1, -1)
one.expand(2, 3, 4)
row.expand(2, 3, 4)
row.expand_as(a)
a.repeat(1, 2, 3)
a.repeat(2, 1, 1, 1)
a.repeat_interleave(2, dim=1)
torch.repeat_interleave(a, 3, 0)
a.mean(1)
a.mean(dim=-1)
a.sum(dim=(0, 2))
a.sum((1, 2), True)
a.mean(dim=1, keepdim=True)
i.mean([2, 3])
a.sum(axis=1, keepdims=True)
a.amax(dim=2)
a.argmax(-1)
a.argmax(1, keepdim=True)
a.std(dim=1)
a.var(-1, keepdim=True)
a.logsumexp(1)
a.prod(2)
a.any(dim=1)
a.norm(dim=-1)
a.norm(2, 1, True)
torch.norm(a, dim=1)
a.max(dim=1)[0]
a.max(1, keepdim=True)[0]
a.min(-1).values
a.topk(2)[0]
a.topk(2, dim=1).values
a.sort(dim=1)[0]
a.cumsum(1)
torch.zeros_like(a)
torch.arange(7)
torch.full((2, 5), 1.0)
torch.stack([a, b])
torch.stack((a, b), dim=-1)
torch.stack([a, b], axis=1)
torch.cat([a, b], dim=1)
torch.cat((a, b), -1)
torch.where(a > 0, a, one)
F.one_hot(labels, 9)
F.softmax(a, dim=-1)
F.normalize(a, dim=1)
F.dropout(a, 0.5)
F.layer_norm(a, (4,))
F.adaptive_avg_pool2d(i, 1)
F.adaptive_avg_pool2d(i, (4, 3))
nn.AdaptiveAvgPool2d(2)(i)
nn.AdaptiveMaxPool2d((1, 5))(i)
nn.AdaptiveAvgPool1d(2)(a)
nn.Linear(4, 7)(a)
nn.LayerNorm(4)(a)
nn.BatchNorm2d(3)(i)
nn.ReLU()(a)
nn.ChannelShuffle(3)(i)
nn.Embedding(10, 6)(labels)
nn.GRUCell(4, 7)(a[0])
nn.LSTM(4, 7, batch_first=True)(a)[0]
nn.LSTM(4, 7, batch_first=True)(a)[1][0]
nn.GRU(4, 7, 2, True, True, 0.0, True)(a)[1]
nn.RNN(4, 7, 1, "relu", True, True)(a)[1]
nn.GRU(4, 7)(a)[1]
nn.GRU(4, 7)(a)[0]
nn.MultiheadAttention(4, 2)(a, b, b)[0]
nn.TransformerEncoderLayer(4, 2, 8)(a)
nn.TransformerDecoderLayer(4, 2, 8)(a, b)
nn.Transformer(4, 2, 1, 1, 8)(b, torch.zeros(5, 3, 4))
F.scaled_dot_product_attention(a, b, torch.zeros(2, 3, 5))
""".strip().splitlines()

# Of these the analyser knows the rank and some sizes, or nothing; what it knows has to be right.
PARTLY_KNOWN = """
F.glu(a)
nn.GLU()(a)
F.max_pool2d(i, 2)
F.avg_pool1d(a, 2)
F.max_pool2d(i[0], 2)
nn.MaxPool2d(2)(i)
nn.MaxPool2d(2)(i[0])
nn.AvgPool1d(2)(a)
F.adaptive_avg_pool1d(a, 1)
F.adaptive_avg_pool2d(i[0], 1)
nn.Conv2d(3, 7, 3)(i)
nn.Conv2d(3, 7, 3)(i[0])
nn.ConvTranspose2d(3, 7, 2, 2)(i)
nn.ZeroPad2d(1)(i)
nn.ReflectionPad2d((1, 2, 1, 0))(i)
F.pad(i, (1, 1, 2, 0))
F.pad(a, (1, 1), value=1.0)
F.interpolate(i, scale_factor=2)
F.interpolate(a, size=9)
nn.Upsample(scale_factor=2)(i)
nn.PixelShuffle(2)(i.expand(2, 3, 8, 6).repeat(1, 4, 1, 1))
nn.Bilinear(4, 4, 6)(a, b)
nn.EmbeddingBag(10, 6)(labels)
nn.LSTM(4, 7, proj_size=3, batch_first=True)(a)[0]
nn.LSTM(4, 7, proj_size=3, batch_first=True)(a)[1][0]
nn.LSTMCell(4, 7)(a[0])[0]
nn.CosineSimilarity(dim=1)(a, b)
F.unfold(i, 2)
i.unfold(2, 4, 2)
i.unfold(-1, 2, 1)
nn.Unfold(2)(i)
a.index_select(1, torch.tensor([0, 2]))
a.gather(1, labels[:, :, None])
a.masked_select(a > 0)
a[:, 1:]
a[a > 0]
a[labels[0]]
a[0, :, 1:3]
a.max()
a.sum()
torch.max(a, one)
a.tile(2, 1, 1)
a.diff(dim=1)
a.chunk(2, dim=1)[0]
a.split([1, 3], dim=2)[0]
a.nonzero()
torch.cat([a, torch.zeros(2, 1, 4)], dim=1)
torch.cat([a, b, one.expand(2, -1, -1)], dim=-1)
torch.stack([x for x in a])
torch.cdist(a, b)
torch.outer(row, row)
torch.linalg.norm(a, dim=(1, 2))
torch.tril(torch.ones(3, 3))
F.pairwise_distance(a, b)
a.squeeze(-1)
labels.unique()
a.repeat_interleave(torch.tensor([1, 2]), dim=0)
torch.roll(a, 1, 0)
torch.einsum("...ij,...jk", a, m)
torch.einsum("i,j", row, row)
""".strip().splitlines()


def found(folder: Path, expression: str) -> Shape | None:
    """The shape that the analyser gives to an expression."""
    setup = "\n            ".join(SETUP.strip().splitlines())
    program = run(folder, MODEL.format(setup=setup, expression=expression))
    value = only(program, "loss").subject
    return value.shape if type(value) is Term else None


def computed(expression: str) -> tuple[int, ...]:
    """The shape that torch gives to it."""
    names = {"torch": torch, "nn": nn, "F": functional}
    exec(SETUP, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of layers that take a slower path
        return tuple(eval(expression, names).shape)


@pytest.mark.parametrize("expression", KNOWN)
def test_a_shape_is_as_torch_computes_it(expression: str, tmp_path: Path) -> None:
    shape = found(tmp_path, expression)
    assert shape is not None
    assert shape.dims is not None
    sizes = tuple(None if dim.atoms else dim.number for dim in shape.dims)
    assert sizes == computed(expression)


@pytest.mark.parametrize("expression", PARTLY_KNOWN)
def test_what_is_known_of_a_shape_is_right(expression: str, tmp_path: Path) -> None:
    shape = found(tmp_path, expression)
    real = computed(expression)
    if shape is None:
        return
    if shape.dims is not None:
        assert len(shape.dims) == len(real)
    for axis, dim in enumerate(shape.dims or ()) if shape.dims is not None else shape.asked.items():
        assert dim.atoms or dim.number == real[axis]


VIEWS = {
    "frames folded into the batch, unfolded in the other order": """
        def forward(self, x):
            B, T, C, H, W = x.shape
            x = F.max_pool2d(self.conv(x.view(B * T, C, H, W)), 2).flatten(1)
            return self.linear(x).view(T, B, -1)  # <- ND501
    """,
    "frames folded into the batch and unfolded again": """
        def forward(self, x):
            B, T, C, H, W = x.shape
            x = F.max_pool2d(self.conv(x.view(B * T, C, H, W)), 2).flatten(1)
            return self.linear(x).view(B, T, -1)
    """,
    "copies beside each other, read as copies of the whole": """
        def forward(self, x, k):
            N, C = x.shape
            return self.linear(x.repeat_interleave(4, dim=0)).view(4, N, -1)  # <- ND501
    """,
    "copies of the whole, read as such": """
        def forward(self, x):
            N, C = x.shape
            return self.linear(x.repeat(4, 1)).view(4, N, -1)
    """,
    "attention by einsum, heads not brought back": """
        def forward(self, q, k, v):
            B, H, T, D = v.shape
            y = torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1), v)
            return y.reshape(B, T, H * D)  # <- ND501
    """,
    "attention by einsum, heads brought back by einops": """
        def forward(self, q, k, v):
            B, H, T, D = v.shape
            y = torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1), v)
            return rearrange(y, "b h t d -> b t (h d)").view(B, T, H * D)
    """,
    "the final state of packed sequences": """
        def forward(self, tokens, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(tokens, lengths, batch_first=True)
            _, h = nn.GRU(4, 8, bidirectional=True)(packed)
            return h.view(tokens.size(0), -1)  # <- ND502
    """,
    "a table of one row, flattened": """
        def forward(self, x):
            table = self.table.permute(0, 3, 1, 2)
            h, w = self.table.shape[1:3]
            return x + self.table.reshape(1, h * w, -1)
    """,
    "steps stacked first, read as if the batch came first": """
        def forward(self, x):
            B, T, C = x.shape
            steps = []
            for t in range(T):
                steps.append(x[:, t])
            return torch.stack(steps).view(B, T, C)  # <- ND501
    """,
    "steps stacked behind the batch": """
        def forward(self, x):
            B, T, C = x.shape
            steps = []
            for t in range(T):
                steps.append(x[:, t])
            return torch.stack(steps, dim=1).view(B, T * C)
    """,
}
SHAPES = frozenset({"ND501", "ND502", "ND617"})  # the models are fragments: other rules may mind them
HEAD = """
from einops import rearrange
class Model(nn.Module):
    def __init__(self, channels, features):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(channels, 8, 3), nn.Linear(features, 16)
        self.table = nn.Parameter(torch.zeros(1, 8, 8, 16))
"""


@pytest.mark.parametrize("title", VIEWS)
def test_a_view_is_read_in_the_order_of_its_source(title: str, tmp_path: Path) -> None:
    body = textwrap.indent(textwrap.dedent(VIEWS[title]), "    ")
    texts = {MAIN: program_text(HEAD + body)}
    report = scan_files(tmp_path, texts, select=SHAPES)
    assert report.failures == ()
    assert reported(report) == marks(texts)
