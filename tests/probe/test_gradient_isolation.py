"""NDP04: the zoo, the catalogue, the modes of a model, and what a finding says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from isolated import checked, examined, floats, subject_of
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Severity
from nndoctor.probe import isolation
from nndoctor.probe.build import build_subject
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.mixing import permutation
from nndoctor.requests import ProbeRequest

RULE = load_rule("NDP04")
MIXING = [name for name, code in zoo.SICK.items() if code == "NDP04"]
CANNOT_BE_JUDGED = ["clip"]  # the output is a table of pairs


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
    assert finding.location.path.endswith(f"probe/sick/{name}.py")
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


# ------------------------------------------------------------------------------------------------- words


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
