"""Isolation: which dimension counts the examples, how one is changed, and models that are hard to run twice."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from isolated import checked, examined, floats, subject_of, tokens
from torch import Tensor, nn

from nndoctor.findings import Confidence, Severity
from nndoctor.probe import examples, isolation
from nndoctor.probe.batches import Batches
from nndoctor.probe.subject import Split, Subject

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


def test_one_number_an_example_is_enough() -> None:
    layer = nn.Linear(8, 1)
    result, findings = checked(lambda x: layer(x).squeeze(-1), floats(16, 5), targets=floats(16))
    assert (findings, result.status) == ([], "ok")
    _, (finding,) = checked(lambda x: layer(x).squeeze(-1).softmax(0), floats(16, 5), targets=floats(16))
    assert finding.measurements["operation"] == "softmax"


def test_a_batch_of_one_sequence_is_skipped() -> None:
    result, findings = checked(lambda x: x.cumsum(1), tokens(1, 12), targets=tokens(1, 12))
    assert (findings, result.status) == ([], "skipped")
    assert result.summary == "the batch holds fewer than two examples"


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


def test_bytes_are_changed_as_they_are() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(27, 4)

        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype is torch.uint8
            return self.head(x.flatten(1) / 255)

    result, findings = examined(subject_of(Reader(), tokens(16, 3, 3, 3, high=255).to(torch.uint8)))
    assert (findings, result.status) == ([], "ok")
    assert np.allclose(np.diag(result.series["influence"].values), 1)


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
