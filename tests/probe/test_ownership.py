"""Ownership: examples are followed through any operation, and the one that breaks them up is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nndoctor.probe.ownership import NOBODY, SEVERAL, Layout, State, Step, culprit, find_layout, layouts, owners, trace
from nndoctor.probe.recording import Recording, imprint, record

EXAMPLES = 4

Forward = Callable[[Tensor], Tensor]


def recordings(forward: Forward, x: Tensor) -> tuple[Recording, dict[int, Recording]]:
    def run(batch: Tensor) -> Recording:
        return record(lambda: [forward(batch)])

    edited = {example: x.clone() for example in range(EXAMPLES)}
    for example, batch in edited.items():
        batch[example] *= 0.5
    return run(x), {example: run(batch) for example, batch in edited.items()}


def follow(forward: Forward, x: Tensor) -> list[Step]:
    base, edited = recordings(forward, x)
    return trace(base, base, edited, EXAMPLES)


def blame(forward: Forward, x: Tensor) -> str | None:
    base, edited = recordings(forward, x)
    step = culprit(trace(base, base, edited, EXAMPLES), base.sources[0], EXAMPLES)
    return step.operation.name if step else None


def batch(*shape: int) -> Tensor:
    return torch.rand(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0)) + 0.1


KEEPING = {
    "linear": (lambda x: F.linear(x, torch.ones(3, 6)), Layout(0)),
    "time first": (lambda x: x.transpose(0, 1), Layout(1)),
    "time first, made contiguous": (lambda x: x.transpose(0, 1).contiguous(), Layout(1)),
    "batch and time merged": (lambda x: x.flatten(0, 1), Layout(0, 1, 10)),
    "time and batch merged": (lambda x: x.transpose(0, 1).flatten(0, 1), Layout(0, 10, 1)),
    "batch and heads merged": (lambda x: x.view(4, 10, 2, 3).transpose(1, 2).reshape(8, 10, 3), Layout(0, 1, 2)),
    "stacked twice": (lambda x: torch.cat([x, x]), Layout(0, 2, 1)),
    "merged and split": (lambda x: x.view(40, 6).exp().view(4, 10, 6), Layout(0)),
    "unfolded": (lambda x: x.unfold(1, 3, 2), Layout(0)),
    "one number each": (lambda x: x.sum(dim=(1, 2)), Layout(0)),
    "batch last": (lambda x: x.permute(1, 2, 0), Layout(2)),
    "einsum": (lambda x: torch.einsum("btd,bsd->tsb", x, x), Layout(2)),
}


@pytest.mark.parametrize("name", KEEPING)
def test_examples_are_followed_through_permutes_and_merges(name: str) -> None:
    forward, layout = KEEPING[name]
    last = follow(forward, batch(10, 6))[-1]
    assert (last.state, last.layouts) == (State.APART, (layout,))


def test_what_no_example_touches_has_no_owner() -> None:
    steps = follow(lambda x: x + torch.ones(6).exp(), batch(6))
    assert [step.state for step in steps] == [State.UNTOUCHED, State.UNTOUCHED, State.APART]


BREAKING = {
    "mean": lambda x: x - x.mean(0),
    "softmax": lambda x: (x.softmax(dim=0) * x).sum(1),
    "view": lambda x: x.exp().view(10, 4, 6).cumsum(0)[-1],
    "reshape": lambda x: x.exp().transpose(1, 2).reshape(10, 4, 6).sum(0),
    "flip": lambda x: x.exp().flip(0).flatten(1),
    "__getitem__": lambda x: x + x.exp()[torch.tensor([1, 2, 3, 0])],
    "matmul": lambda x: (x[:, 0] @ x[:, 0].t()).softmax(-1) @ x[:, 0],
    "cumsum": lambda x: x.sin().cumsum(0).cos(),
    "roll": lambda x: x.roll(1, dims=0) * x,
    "batch_norm": lambda x: F.batch_norm(x[:, 0], None, None, training=True),
}


@pytest.mark.parametrize("name", BREAKING)
def test_the_operation_that_mixes_or_scatters_is_blamed(name: str) -> None:
    assert blame(BREAKING[name], batch(10, 6)) == name


def test_a_view_that_only_moves_the_size_of_the_batch_is_blamed_too() -> None:
    """Of 8 steps every example has two rows of the view, which keeps it together along the wrong dimension."""
    assert blame(lambda x: x.exp().view(8, 4, 6).cumsum(0)[-1], batch(8, 6)) == "view"


def test_a_view_that_splits_examples_over_rows_is_blamed() -> None:
    assert blame(lambda x: x.exp().view(2, 4, 6).cumsum(0)[-1], batch(2, 6)) == "view"


def test_a_selection_that_scatters_is_not_blamed_for_a_later_mean() -> None:
    def forward(x: Tensor) -> Tensor:
        chosen = x[x > 0.5]
        return x - chosen.mean()

    assert blame(forward, batch(10, 6)) == "mean"


def test_packing_is_not_blamed_for_a_later_mean() -> None:
    lengths = torch.tensor([10, 7, 5, 2])

    def forward(x: Tensor) -> Tensor:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        again, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        return again - packed.data.mean(0)

    assert blame(forward, batch(10, 6)) == "mean"


def test_mixing_that_does_not_reach_the_output_is_not_blamed() -> None:
    def forward(x: Tensor) -> Tensor:
        scale = x.mean()
        shown = scale * 2
        return x.flip(0) * shown.detach().sign()

    assert blame(forward, batch(6)) == "flip"


def test_a_masked_product_of_all_pairs_is_innocent() -> None:
    """Block-diagonal attention: scores of all pairs meet, and the mask takes the foreign ones out again."""
    owner = torch.arange(EXAMPLES).repeat_interleave(3)
    mask = owner[:, None] == owner[None, :]

    def attention(x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        weights = (rows @ rows.t()).masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return (weights @ rows).view_as(x)

    steps = {step.operation.name: step.state for step in follow(attention, batch(3, 6))}
    assert (steps["softmax"], steps["view_as"]) == (State.APART, State.APART)
    assert blame(lambda x: attention(x).softmax(dim=0), batch(3, 6)) == "softmax"


def test_a_trace_ends_where_the_control_flow_parts() -> None:
    x = batch(6)

    def forward(values: Tensor) -> Tensor:
        doubled = values * 2
        return doubled.exp() if torch.equal(values, x) else doubled.neg()

    assert [step.operation.name for step in follow(forward, x)] == ["mul"]


def test_noise_belongs_to_nobody() -> None:
    base, again, edited = (imprint(torch.tensor(values)) for values in ([1.0, 2.0], [1.0, 2.5], [1.5, 2.5]))
    assert owners(base, again, {0: edited, 1: edited}).tolist() == [SEVERAL, NOBODY]


def test_large_tensors_are_followed_by_a_sample() -> None:
    step = follow(lambda x: x.permute(2, 0, 1, 3).exp(), batch(30, 20, 10))[-1]
    assert (step.state, step.layouts) == (State.APART, (Layout(1),))


def test_layouts_put_the_batch_dimension_first() -> None:
    assert list(layouts((8, 4, 3), 4)) == [Layout(1), Layout(0, 1, 2), Layout(0, 2, 1)]
    assert list(layouts((5, 3), 4)) == []


def test_a_layout_needs_an_owned_element() -> None:
    assert find_layout((4,), torch.tensor([NOBODY] * 4), 4) is None
    assert find_layout((4,), torch.tensor([NOBODY, 1, 2, NOBODY]), 4) == Layout(0)
    assert find_layout((4,), torch.tensor([1, 0, 2, 3]), 4) is None
