"""Recording: operations by name, line and module, how they feed each other, and where two recordings part."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nndoctor.probe.recording import SAMPLE, Departure, Operation, Recording, compare, imprint, positions, record


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(self.norm(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


def written(operation: Operation) -> str:
    """The text at the location of an operation."""
    assert operation.location
    line = Path(operation.location.path).read_text(encoding="utf-8").splitlines()[operation.location.line - 1]
    if sys.version_info < (3, 11):
        return line
    assert operation.location.end_line == operation.location.line
    assert operation.location.end_column
    return line[operation.location.column - 1 : operation.location.end_column - 1]


def names(recording: Recording) -> list[str]:
    return [operation.name for operation in recording.operations]


@pytest.fixture
def net() -> Recording:
    torch.manual_seed(0)
    model = Net()
    return record(lambda: [model(torch.ones(3, 5, 4))], model)


def test_operations_have_the_names_that_users_write(net: Recording) -> None:
    block = ["layer_norm", "linear", "relu", "add"]
    assert names(net) == ["ones", *block, *block, "__getitem__", "linear"]


def test_operations_are_placed_in_the_module_whose_forward_runs(net: Recording) -> None:
    assert [operation.module for operation in net.operations[1:]] == [
        *("blocks.0.norm", "blocks.0.linear", "blocks.0", "blocks.0"),
        *("blocks.1.norm", "blocks.1.linear", "blocks.1", "blocks.1"),
        *("", "head"),
    ]


def test_the_line_is_the_innermost_of_the_users_code(net: Recording) -> None:
    relu = next(operation for operation in net.operations if operation.name == "relu")
    inside_torch = next(operation for operation in net.operations if operation.module == "blocks.0.norm")
    assert "torch.relu(self.linear(self.norm(x)))" in written(relu)
    assert "self.norm(x)" in written(inside_torch)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code has columns since 3.11")
def test_the_columns_span_the_call() -> None:
    recording = record(lambda: [torch.ones(2, 3).softmax(dim=1)])
    assert [written(operation) for operation in recording.operations] == [
        "torch.ones(2, 3)",
        "torch.ones(2, 3).softmax(dim=1)",
    ]


def test_a_helper_of_the_user_is_blamed_itself() -> None:
    recording = record(lambda: [centred(torch.ones(2, 3))])
    assert "x - x.mean(0)" in written(recording.operations[-1])


def centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


def test_calls_inside_torch_alone_are_placed_where_torch_was_called() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    recording = record(lambda: [model(torch.ones(2, 3))], model)
    assert "model(torch.ones(2, 3))" in written(recording.operations[-1])
    assert [operation.module for operation in recording.operations] == ["", "0", "1"]


def test_inputs_are_the_operations_whose_results_are_read() -> None:
    def call() -> list[Tensor]:
        first = torch.ones(2)
        second = torch.zeros(2)
        both = torch.stack([first, second])
        return [both, both * first]

    recording = record(call)
    assert [operation.inputs for operation in recording.operations] == [(), (), (0, 1), (0, 2)]
    assert recording.sources == ((2,), (3,))


def test_a_write_through_a_view_is_an_input_of_later_reads() -> None:
    def call() -> list[Tensor]:
        base = torch.zeros(4, 4)
        base[:, 0] = 1
        base.view(16).add_(1)
        return [base.sum()]

    recording = record(call)
    assert names(recording) == ["zeros", "__setitem__", "view", "add_", "sum"]
    assert recording.operations[-1].inputs == (0, 1, 3)
    assert recording.operations[1].outputs[0].shape == (4, 4)


def test_freed_memory_leaves_no_trail() -> None:
    def call() -> list[Tensor]:
        for _ in range(5):
            torch.ones(1000).mul_(2)
        return [torch.ones(1000) + 1]

    assert record(call).operations[-1].inputs == (10,)


def test_calls_that_return_their_argument_are_no_operations() -> None:
    x = torch.ones(3)
    assert names(record(lambda: [x.contiguous().float().to("cpu")])) == []


def test_equal_calls_compare_equal() -> None:
    model = Net()
    call = partial(run, model, torch.rand(3, 5, 4))
    assert compare(record(call), record(call)) is None


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    return [model(x)]


def test_not_a_number_equals_itself() -> None:
    def call() -> list[Tensor]:
        return [torch.tensor([1.0, float("nan")]) + 1]

    assert compare(record(call), record(call)) is None


def test_the_first_difference_is_named() -> None:
    def call() -> list[Tensor]:
        hidden = torch.ones(50) * 2
        return [F.dropout(hidden) + 1]

    difference = compare(record(call), record(call))
    assert difference and difference.first
    assert (difference.kind, difference.first.name) == (Departure.VALUES, "dropout")


def test_control_flow_that_depends_on_data_is_a_difference_of_the_path() -> None:
    def call(x: Tensor) -> list[Tensor]:
        return [x.exp() if x.sum() > 0 else x.neg()]

    x = torch.ones(2)
    difference = compare(record(partial(call, x)), record(partial(call, -x)))
    assert difference and difference.first and difference.second
    assert difference.kind is Departure.VALUES  # the sum comes first
    assert difference.first.name == "sum"

    def blind(x: Tensor) -> list[Tensor]:
        return [x.exp() if x.tolist() == [1, 1] else x.neg()]

    difference = compare(record(partial(blind, x)), record(partial(blind, -x)))
    assert difference and difference.first and difference.second
    assert difference.kind is Departure.PATH
    assert (difference.first.name, difference.second.name) == ("exp", "neg")


def test_a_recording_that_ends_early_is_a_difference_of_the_path() -> None:
    def call(times: int) -> list[Tensor]:
        x = torch.ones(2)
        for _ in range(times):
            x = x + 1
        return [x]

    difference = compare(record(partial(call, 1)), record(partial(call, 2)))
    assert difference
    assert (difference.kind, difference.first) == (Departure.PATH, None)


def test_results_of_other_shapes_are_a_difference() -> None:
    def call(length: int) -> list[Tensor]:
        return [torch.zeros(5)[:length]]

    difference = compare(record(partial(call, 2)), record(partial(call, 3)))
    assert difference and difference.first
    assert (difference.kind, difference.first.name) == (Departure.SHAPES, "__getitem__")


def test_the_sample_of_a_large_tensor_is_bounded_and_a_change_outside_it_is_seen() -> None:
    large = torch.zeros(100, 1000)
    kept = imprint(large)
    assert kept.sample.numel() == SAMPLE
    outside = sorted(set(range(200)) - set(positions(large.numel()).tolist()))[0]
    large.view(-1)[outside] = 1e-30
    assert torch.equal(imprint(large).sample, kept.sample)
    assert imprint(large).checksum != kept.checksum


def test_the_sample_of_a_transposed_tensor_follows_its_shape() -> None:
    large = torch.arange(100_000, dtype=torch.int32).view(100, 1000)
    assert torch.equal(imprint(large).sample, positions(100_000).to(torch.int32))
    assert torch.equal(imprint(large.t()).sample, imprint(large.t().contiguous()).sample)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([True, False]),
        torch.tensor([1, 2], dtype=torch.uint8),
        torch.tensor([1.5, 2.5], dtype=torch.float16),
        torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
        torch.tensor([1.5, 2.5], dtype=torch.float64),
        torch.tensor([1 + 2j, 3j]),
        torch.tensor([[1.0, 0.0]]).to_sparse(),
        torch.empty(0, 3),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tensor.layout} {tuple(tensor.shape)}",
)
def test_tensors_of_every_kind_leave_an_imprint(tensor: Tensor) -> None:
    kept = imprint(tensor)
    assert kept.shape == tuple(tensor.shape)
    assert kept.sample.numel() == tensor.numel()
    assert kept.finite


def test_tensors_without_elements_of_their_own_leave_an_empty_imprint() -> None:
    assert imprint(torch.empty(2, 3, device="meta")).sample.numel() == 0
    recording = record(lambda: [torch.vmap(lambda row: row * 2)(torch.ones(2, 3))])
    assert recording.returned[0].sample.tolist() == imprint(torch.full((2, 3), 2.0)).sample.tolist()


def test_memory_that_was_never_written_says_nothing() -> None:
    def call() -> list[Tensor]:
        return [torch.empty(1000).fill_(3)]

    recording = record(call)
    assert [operation.outputs[0].sample.numel() for operation in recording.operations] == [0, 1000]
    torch.rand(1000).add_(1)  # leaves something in the memory that is used next
    assert compare(recording, record(call)) is None


def test_infinite_values_and_cut_graphs_are_noted() -> None:
    x = torch.ones(2, requires_grad=True)
    recording = record(lambda: [(x * 2).detach().log().sub(1).log()])
    assert [operation.outputs[0].requires_grad for operation in recording.operations] == [True, *[False] * 4]
    assert [operation.outputs[0].finite for operation in recording.operations] == [True] * 4 + [False]


def test_recording_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model, x = Net(), torch.rand(3, 5, 4)
    state = torch.get_rng_state()
    before = model(x)
    recording = record(lambda: [model(x)], model)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model(x), before)
    assert recording.returned[0].checksum == imprint(before).checksum
    assert not any(hooks(module) for module in model.modules())


def hooks(module: nn.Module) -> int:
    """Number of hooks of any kind on a module."""
    return sum(len(value) for name, value in vars(module).items() if "_hooks" in name)


def test_an_error_in_the_call_removes_the_hooks() -> None:
    model = Net()
    with pytest.raises(RuntimeError, match="mat1"):
        record(lambda: [model.head(torch.ones(2, 3))], model)
    assert not any(hooks(module) for module in model.modules())


def test_a_compiled_part_is_run_as_it_is_written() -> None:
    model = nn.Sequential(nn.Linear(3, 3), torch.compile(Waves(), backend="eager"))
    recording = record(lambda: [model(torch.ones(2, 3))], model)
    assert names(recording) == ["ones", "linear", "sin", "cos"]
    assert "x.sin().cos()" in written(recording.operations[-1])


class Waves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin().cos()
