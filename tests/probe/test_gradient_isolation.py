"""NDP04: the zoo, the line and the advice for each way to mix a batch, and what must not be blamed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Finding, ProbeResult, Severity
from nndoctor.probe import examples, isolation
from nndoctor.probe.batches import Batches
from nndoctor.probe.build import build_subject
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.examples import batch_sizes
from nndoctor.probe.mixing import permutation
from nndoctor.probe.registry import examine
from nndoctor.probe.subject import Split, Subject
from nndoctor.requests import ProbeRequest

RULE = load_rule("NDP04")
MIXING = [name for name, code in zoo.SICK.items() if code == "NDP04"]
CANNOT_BE_JUDGED = ["clip"]  # the output is a table of pairs


def examined(subject: Subject) -> tuple[ProbeResult, list[Finding]]:
    result, findings = examine("NDP04", subject, EFFORTS["quick"])
    return result, list(findings)


def checked(
    forward: Callable[..., Any], *inputs: Any, part: nn.Module | None = None, **options: Any
) -> tuple[ProbeResult, list[Finding]]:
    """Examine a model that has `part`, and whose forward is a function of an embedded and further inputs."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = part
            self.embed = nn.Linear(inputs[0].shape[-1], 8) if inputs[0].is_floating_point() else nn.Embedding(300, 8)

        def forward(self, x: Tensor, *rest: Any) -> Any:
            return forward(self.embed(x), *rest)

    torch.manual_seed(0)
    return examined(subject_of(Model(), *inputs, **options))


def subject_of(model: nn.Module, *inputs: Any, targets: Any = None, **options: Any) -> Subject:
    batches = Batches(kept=((*inputs, targets),), exhausted=True)
    return Subject(
        model=model,
        batches=batches,
        split=lambda batch: Split(args=tuple(batch[:-1]), kwargs={}, targets=batch[-1]),
        objective=None,
        optimizer=None,
        **options,
    )


def floats(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def tokens(*shape: int, high: int = 300) -> Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------- the zoo


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", [name for name in zoo.HEALTHY if name not in CANNOT_BE_JUDGED])
def test_a_healthy_model_reads_exactly_zero(name: str) -> None:
    result, findings = examined(zoo.subject(name))
    assert (findings, result.status) == ([], "ok")
    assert result.measurements["off_diagonal"] == 0
    assert result.measurements["off_diagonal_train"] == 0
    assert result.measurements["off_diagonal_gradient"] == 0
    assert result.measurements["jitter"] == isolation.JITTERS[0]


@pytest.mark.parametrize("name", CANNOT_BE_JUDGED)
def test_what_cannot_be_judged_is_skipped_with_a_reason(name: str) -> None:
    result, findings = examined(zoo.subject(name))
    assert (findings, result.status) == ([], "skipped")
    assert "made to mix" in result.summary


@pytest.mark.parametrize("name", MIXING)
def test_the_line_that_mixes_is_found(name: str) -> None:
    result, (finding,) = examined(zoo.subject(name))
    assert result.status == "finding"
    assert finding.location
    assert finding.location.path.endswith(f"zoo/sick/{name}.py")
    assert finding.location.line == zoo.sick_line(name)
    assert finding.source_line and finding.source_line.endswith("# <- sick")
    assert finding.measurements["expected"] == "0"
    measured = finding.measurements["off_diagonal"]
    assert isinstance(measured, float)
    assert measured > 0.05


@pytest.mark.parametrize("name", [name for name in zoo.SICK if name not in MIXING])
def test_other_diseases_are_not_taken_for_mixing(name: str) -> None:
    _, findings = examined(zoo.subject(name))
    assert findings == []


def test_a_finding_says_what_a_reader_needs() -> None:
    result, (finding,) = examined(zoo.subject("view_for_permute"))
    assert finding.message == "output 0 depends on examples 1 to 6"
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.CERTAIN)
    assert finding.treatment == "a view moves no dimension: write x.permute(1, 0, 2)"
    assert finding.evidence[0].message == (
        "`view` in Recurrent, (7, 12, 6) to (12, 7, 6): here the elements of an example leave their row"
    )
    assert finding.evidence[0].location == finding.location
    assert finding.measurements["operation"] == "view"
    rows = result.series["influence"].values
    assert np.shape(rows) == (7, 7)
    assert np.allclose(np.diag(rows), 1)


ADVICE = {
    "attention_batch_first": "batch_first=True",
    "batchnorm_without_statistics": "track_running_stats=True",
    "hidden_state_view": "write hidden.permute(1, 0, 2).reshape(x.size(0), -1)",
    "lstm_batch_first": "batch_first=True",
    "mean_over_batch": "`mean` runs over the examples",
    "shuffled_rows": "takes rows of other examples",
    "softmax_over_batch": "`softmax` runs over the examples",
    "view_in_attention": "a view moves no dimension",
    "view_of_channels": "write features.permute(2, 3, 0, 1).reshape(H * W, N, C)",
}


@pytest.mark.parametrize("name", ADVICE)
def test_the_advice_fits_the_operation(name: str) -> None:
    _, (finding,) = examined(zoo.subject(name))
    assert ADVICE[name] in finding.treatment


def test_without_jitter_the_leak_behind_zeros_is_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "JITTERS", (0.0,))
    result, findings = examined(zoo.subject("leak_behind_zeros"))
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


def test_the_module_is_named() -> None:
    _, (finding,) = examined(zoo.subject("view_in_attention"))
    assert finding.measurements["module"] == "attn"
    assert "in attn (SelfAttention)" in finding.evidence[0].message


def test_the_same_seed_gives_the_same_report() -> None:
    first, second = (examined(zoo.subject("mean_over_batch")) for _ in range(2))
    assert first[1] == second[1]
    assert first[0].measurements == second[0].measurements


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    file = tmp_path / ("_".join(re.findall("[a-z]+", example.title)) + ".py")
    file.write_text(example.code, encoding="utf-8")
    request = ProbeRequest(f"{file}:build_model", f"{file}:loader", tmp_path, loss=f"{file}:loss")
    _, findings = examined(build_subject(request, EFFORTS["quick"]))
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP04" in line]
    assert [finding.location and finding.location.line for finding in findings] == marked


# ------------------------------------------------------------------------------------------------- batch norm and modes


def test_batch_norm_in_train_mode_is_explained_and_not_blamed() -> None:
    result, findings = examined(zoo.subject("cnn"))
    coupling = result.measurements["batch_norm_in_train_mode"]
    assert isinstance(coupling, float)
    assert (findings, coupling > 0.01) == ([], True)
    assert "batch norm in train mode couples the examples" in result.summary


def test_batch_norm_without_running_statistics_is_a_warning() -> None:
    result, (finding,) = examined(zoo.subject("batchnorm_without_statistics"))
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert finding.message == "in eval mode output 0 depends on examples 1 to 6 through batch norm"
    assert result.measurements["off_diagonal"] == 0


def test_a_leak_beside_batch_norm_without_running_statistics_is_still_found() -> None:
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    _, findings = checked(lambda x: norm(x) - x.mean(0), floats(16, 5), part=norm)
    assert [finding.measurements["operation"] for finding in findings] == ["mean"]


def test_functional_batch_norm_that_always_trains_is_a_warning() -> None:
    _, (finding,) = checked(lambda x: F.batch_norm(x, None, None, training=True), floats(16, 5))
    assert finding.severity is Severity.WARNING
    assert "through batch norm" in finding.message


def test_batch_norm_written_by_hand_is_only_advice() -> None:
    class BatchNorm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0) if self.training else x

    norm = BatchNorm()

    class Net(nn.Sequential):
        pass

    _, (finding,) = examined(subject_of(Net(nn.Linear(5, 8), norm), floats(16, 5)))
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.POSSIBLE)
    assert finding.message.startswith("in train mode output 0 depends on")


def test_mixup_in_train_mode_is_only_advice() -> None:
    class Mixup(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.7 * x + 0.3 * x[torch.randperm(len(x))] if self.training else x

    _, (finding,) = examined(subject_of(nn.Sequential(nn.Linear(5, 8), Mixup()), floats(16, 5)))
    assert finding.confidence is Confidence.POSSIBLE


def test_a_layer_that_looks_at_the_batch_by_its_name_is_only_advice() -> None:
    class MinibatchStdDev(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x.std(0).mean().expand(len(x), 1)], dim=1)

    _, (finding,) = examined(subject_of(nn.Sequential(nn.Linear(5, 8), MinibatchStdDev()), floats(16, 5)))
    assert finding.confidence is Confidence.POSSIBLE


def test_randomness_in_train_mode_is_the_same_on_both_sides() -> None:
    result, findings = checked(lambda x: F.dropout(x, 0.5) + 0.1 * torch.randn_like(x), floats(16, 5))
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


def test_random_numbers_that_are_drawn_by_example_are_not_blamed() -> None:
    """An example that takes another way through a mixture of experts shifts the random numbers of the others."""

    def forward(x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for chosen in ((x.sum(1) > 0).nonzero()[:, 0], (x.sum(1) <= 0).nonzero()[:, 0]):
            out[chosen] = F.dropout(x[chosen], 0.5, training=part.training)
        return out

    part = nn.Identity()
    _, findings = checked(forward, floats(16, 5), part=part)
    assert findings == []


# ------------------------------------------------------------------------------------------------- dimensions


@pytest.mark.parametrize("steps", [4, 7, 8, 14, 35, 77])
def test_the_view_is_blamed_whatever_the_number_of_steps(steps: int) -> None:
    lstm = nn.LSTM(8, 8)

    def forward(x: Tensor) -> Tensor:
        x = x.view(x.size(1), x.size(0), -1)
        return lstm(x)[0][-1]

    _, (finding,) = checked(forward, floats(32, steps, 5))
    assert finding.measurements["operation"] == "view"


def test_a_view_over_a_multiple_of_the_batch_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "PREFERRED_COUNTS", (4,))
    lstm = nn.LSTM(8, 8)

    def forward(x: Tensor) -> Tensor:
        return lstm(x.view(x.size(1), x.size(0), -1))[0][-1]

    _, (finding,) = checked(forward, floats(32, 8, 5), targets=tokens(32, high=4))
    assert finding.measurements["operation"] == "view"
    assert finding.treatment.endswith("permute(1, 0, 2)")


def test_sequence_first_inputs_with_one_label_an_example_are_understood() -> None:
    gru = nn.GRU(8, 8)
    result, findings = checked(lambda x: gru(x)[0][-1], floats(12, 16, 5), targets=tokens(16, high=4))
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


@pytest.mark.parametrize("name", ["language_model_sequence_first", "language_model_batch_first"])
def test_targets_a_step_later_tell_which_dimension_is_time(name: str) -> None:
    batch = zoo.subject(name).batches.kept[0]
    assert batch_sizes(batch) == [16]


def test_padding_tells_which_dimension_is_time() -> None:
    ids = tokens(16, 12) * (torch.arange(12) < torch.arange(16)[:, None] % 5 + 6)
    gru = nn.GRU(8, 8)
    _, (finding,) = checked(lambda x: gru(x)[0], ids, targets=ids % 3)
    assert finding.measurements["operation"] == "gru"
    result, findings = checked(lambda x: gru(x)[0], ids.t().contiguous(), targets=ids.t() % 3)
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


def test_where_nothing_tells_time_from_batch_nothing_is_said() -> None:
    gru = nn.GRU(8, 8)
    result, findings = checked(lambda x: gru(x)[0], floats(12, 16, 5), targets=floats(12, 16, 8))
    assert (findings, result.status) == ([], "skipped")
    assert "nothing tells which of the two counts the examples" in result.summary


def test_a_list_of_examples_is_skipped() -> None:
    class Detector(nn.Module):
        def forward(self, images: list[Tensor]) -> list[Tensor]:
            return [image.mean(dim=(1, 2)) for image in images]

    images = [floats(3, 8 + side, 8) for side in range(4)]
    boxes = [floats(count, 4) for count in (3, 1, 2, 3)]
    result, findings = examined(subject_of(Detector(), images, targets=boxes))
    assert (findings, result.status) == ([], "skipped")
    assert "a list of examples" in result.summary


def test_a_mean_over_sequence_first_examples_is_found() -> None:
    def forward(x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)).sum(0)

    _, (finding,) = checked(forward, floats(12, 16, 5), targets=tokens(16, high=4))
    assert finding.measurements["operation"] == "mean"


def test_flattened_outputs_are_read_by_example() -> None:
    labels = tokens(16, high=4)
    result, findings = checked(lambda x: x.reshape(-1, 8), tokens(16, 12), targets=labels)
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)
    _, (finding,) = checked(lambda x: x.softmax(0).reshape(-1, 8), tokens(16, 12), targets=labels)
    assert finding.measurements["operation"] == "softmax"


def test_hidden_states_and_attention_among_the_outputs_are_read() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    gru = nn.GRU(8, 8, num_layers=2, batch_first=True)

    def forward(x: Tensor) -> dict[str, Any]:
        y, weights = attention(x, x, x)
        out, hidden = gru(y)
        return {"out": out, "states": (hidden, weights), "loss": out.mean()}

    result, findings = checked(forward, floats(16, 12, 5))
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


def test_a_second_output_that_mixes_is_found() -> None:
    _, (finding,) = checked(lambda x: (x, x.cumsum(0)), floats(16, 5))
    assert finding.message == "output 1 depends on example 0"
    assert finding.measurements["operation"] == "cumsum"


def test_a_model_that_returns_only_a_loss_is_skipped() -> None:
    result, findings = checked(lambda x: x.square().mean(), floats(16, 5))
    assert (findings, result.status) == ([], "skipped")
    assert result.summary == "no output of the model has a dimension that counts the examples"


def test_a_batch_of_one_is_skipped() -> None:
    result, findings = checked(lambda x: x, floats(1, 1))
    assert (findings, result.status) == ([], "skipped")


@pytest.mark.parametrize(
    "structure",
    [tokens(2, 40, high=16), (floats(16, 16) > 1).float(), (floats(16, 16) > 1).float().to_sparse()],
    ids=["edges", "adjacency", "sparse adjacency"],
)
def test_the_nodes_of_a_graph_influence_each_other_by_design(structure: Tensor) -> None:
    def forward(x: Tensor, structure: Tensor) -> Tensor:
        if structure.is_floating_point():
            return structure @ x
        return torch.zeros_like(x).index_add(0, structure[1], x[structure[0]])

    result, findings = checked(forward, floats(16, 5), structure)
    assert (findings, result.status) == ([], "skipped")
    assert "graph" in result.summary


# ------------------------------------------------------------------------------------------------- inputs


def test_lengths_and_masks_are_left_alone() -> None:
    lengths = torch.arange(16) % 9 + 3

    def forward(x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        assert lengths.max() == 11, "a changed length would change the shape of every output"
        assert mask.sum() == 8
        return x[:, : int(lengths.max())] * mask[:, None, None]

    result, findings = checked(forward, tokens(16, 12), lengths, torch.arange(16) % 2)
    assert (findings, result.status) == ([], "ok")


def test_padding_and_special_tokens_stay_where_they_are() -> None:
    ids = tokens(16, 12)
    ids[:, 0], ids[torch.arange(16), 5 + torch.arange(16) % 5], ids[:, 10:] = 101, 102, 7
    seen: list[Tensor] = []

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(300, 4)

        def forward(self, ids: Tensor) -> Tensor:
            seen.append(ids.clone())
            return self.embedding(ids)

    examined(subject_of(Reader(), ids))
    special = torch.isin(ids[:7], torch.tensor([7, 101, 102]))
    several = torch.stack([one for one in seen if len(one) == 7])
    assert bool((several[:, special] == ids[:7][special]).all())
    assert bool((several != ids[:7]).any(dim=0).any(dim=1).all()), "each example was changed"


def test_pictures_of_bytes_are_changed_within_their_values() -> None:
    def forward(x: Tensor) -> Tensor:
        return x.mean(dim=(1, 2)) - x.mean()

    _, (finding,) = checked(forward, tokens(16, 6, 6, high=255).to(torch.uint8).long())
    assert finding.measurements["operation"] == "mean"


def test_indices_alone_are_changed() -> None:
    _, (finding,) = checked(lambda users, items: users * items[:, None].float().mean(), tokens(16), tokens(16))
    assert finding.measurements["operation"] == "mean"


def test_an_input_that_is_its_own_target_is_changed() -> None:
    x = floats(16, 5)
    batches = Batches(kept=(x,), exhausted=True)
    subject = Subject(nn.Linear(5, 5), batches, lambda batch: Split((batch,), {}, batch), None, None)
    result, _ = examined(subject)
    assert result.series["influence"].values[0][0] == 1


# ------------------------------------------------------------------------------------------------- models


def test_a_model_that_knows_its_batch_size_gets_the_whole_batch() -> None:
    result, findings = checked(lambda x: x.view(16, 12 * 8).tanh(), floats(16, 12, 5))
    assert (findings, result.measurements["examples"]) == ([], 16)
    assert np.shape(result.series["influence"].values) == (16, isolation.LARGEST_COUNT)
    _, (finding,) = checked(lambda x: x.view(12, 16, 8).cumsum(0)[-1], floats(16, 12, 5))
    assert finding.measurements["operation"] == "view"


def test_state_in_attributes_is_put_back_between_runs() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(5, 8, batch_first=True)
            self.hidden: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            out, hidden = self.gru(x, self.hidden)
            self.hidden = hidden.detach()
            return out

    result, findings = examined(subject_of(Stateful(), floats(7, 12, 5)))
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)


def test_noise_from_outside_the_random_state_is_no_finding() -> None:
    foreign = itertools.count()
    result, findings = checked(lambda x: x + math.sin(next(foreign)), floats(16, 5))
    assert (findings, result.status) == ([], "skipped")
    assert "other outputs for the same batch" in result.summary


def test_control_flow_that_depends_on_the_data_still_gives_a_line() -> None:
    def forward(x: Tensor) -> Tensor:
        total = x.sum()
        return x * 2 if total > 0 else x * total

    _, (finding,) = checked(lambda x: forward(x - x.mean(0)), floats(16, 5))
    assert finding.measurements["operation"] == "mean"


def test_mixing_without_a_gradient_is_a_warning() -> None:
    _, (finding,) = checked(lambda x: x - x.mean(0).detach(), floats(16, 5))
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LIKELY)


def test_outputs_that_overflow_are_measured_with_less_jitter() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.exp(1000 * self.scale) + torch.log(0.05 - self.scale.abs())

    torch.manual_seed(0)
    result, findings = examined(subject_of(Deep(), floats(16, 5)))
    assert findings == []
    assert result.measurements["jitter"] in isolation.JITTERS[1:]


def test_in_place_changes_of_the_batch_stay_inside() -> None:
    class Greedy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2).add_(1)

    subject = subject_of(Greedy(), floats(16, 5))
    result, findings = examined(subject)
    assert (findings, result.measurements["off_diagonal"]) == ([], 0)
    assert torch.equal(subject.batches.kept[0][0], floats(16, 5))


@pytest.mark.parametrize(("name", "found"), [("vit", 0), ("softmax_over_batch", 1), ("nanogpt", 0)])
def test_autocast_changes_nothing(name: str, found: int) -> None:
    result, findings = examined(zoo.subject(name, amp=True))
    assert len(findings) == found
    assert (result.measurements["off_diagonal"] == 0) == (not found)


def test_a_sequential_of_torch_modules_names_the_module() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Softmax(dim=0))
    _, (finding,) = examined(subject_of(model, floats(16, 5)))
    assert "in 1 (Softmax)" in finding.evidence[0].message
    assert "`softmax` runs over the examples" in finding.treatment


def test_the_enumeration_of_examples_reads_well() -> None:
    def swapped(x: Tensor) -> Tensor:
        return x[torch.tensor([1, 0, 2, 3, 4, 5, 6])]

    _, (finding,) = checked(swapped, floats(7, 5))
    assert finding.message == "output 0 depends on example 1"

    def gathered(x: Tensor) -> Tensor:
        rest = torch.zeros_like(x)
        rest[0] = x[2] + x[5]
        return x + rest

    _, (finding,) = checked(gathered, floats(7, 5))
    assert finding.message == "output 0 depends on examples 2 and 5"


@pytest.mark.parametrize(
    ("read", "made", "order"),
    [
        ((4, 12, 6), (12, 4, 6), (1, 0, 2)),
        ((4, 8, 8), (8, 4, 8), (1, 0, 2)),
        ((4, 12, 5, 5), (25, 4, 12), (2, 3, 0, 1)),
        ((2, 4, 6), (4, 12), (1, 0, 2)),
        ((4, 16, 4, 4), (16, 4, 16), None),
        ((4, 12, 6), (12, 8, 3), None),
    ],
)
def test_the_permutation_that_was_meant_is_given_only_where_it_is_clear(
    read: tuple[int, ...], made: tuple[int, ...], order: tuple[int, ...] | None
) -> None:
    assert permutation(read, made) == order
