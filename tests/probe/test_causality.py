"""NDP05: which input an output is asked for, whether it can see it, and the line through which it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import measured, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Finding, ProbeResult, Severity
from nndoctor.probe import isolation
from nndoctor.probe.foretelling import read_foretelling

RULE = load_rule("NDP05")
SICK = [name for name, code in zoo.SICK.items() if code == "NDP05"]
SEQUENCE_MODELS = ("gpt2", "language_model_sequence_first", "mixture_of_experts", "nanogpt")
ADVICE = {
    "bidirectional_language_model": "bidirectional=False",
    "causal_mask_missing": "scores.masked_fill(torch.ones(T, T).triu(1).bool()",
    "encoder_without_mask": "as mask= of nn.TransformerEncoder",
    "forecast_same_padding": "F.pad(x, (dilation * (kernel_size - 1), 0))",
}
TOKENS = torch.randint(1, 24, (16, 13), generator=torch.Generator().manual_seed(0))
X, Y = TOKENS[:, :-1], TOKENS[:, 1:]


def examined(made: Any) -> tuple[ProbeResult, list[Finding]]:
    return measured("NDP05", made)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_models_see_nothing_of_the_future(name: str) -> None:
    result, findings = examined(zoo.subject(name))
    assert findings == []
    assert result.status == ("ok" if name in SEQUENCE_MODELS else "skipped")
    if name in SEQUENCE_MODELS:
        assert result.measurements["influence of the future"] == 0
        assert result.measurements["influence of the past"] > 0.1


@pytest.mark.parametrize("name", [name for name in zoo.SICK if name not in SICK])
def test_other_diseases_are_not_taken_for_it(name: str) -> None:
    assert examined(zoo.subject(name))[1] == []


@pytest.mark.parametrize("name", ADVICE)
def test_the_line_that_looks_ahead_is_found(name: str) -> None:
    _, (finding,) = examined(zoo.subject(name))
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.CERTAIN)
    assert finding.location is not None
    assert finding.location.path.endswith(f"probe/sick/{name}.py")
    assert finding.location.line == zoo.sick_line(name)
    assert ADVICE[name] in finding.treatment
    assert "is trained to predict it" in finding.message


def test_targets_that_equal_the_inputs() -> None:
    _, (finding,) = examined(zoo.subject("targets_not_shifted"))
    assert "the targets equal the inputs" in finding.message
    assert "logits[:, :-1]" in finding.treatment


def test_targets_that_are_shifted_twice() -> None:
    result, (finding,) = examined(zoo.subject("labels_shifted_twice"))
    assert finding.severity is Severity.WARNING
    assert result.measurements["target"] == "the input 2 steps later"


@pytest.mark.parametrize("example", [*RULE.bad, *RULE.good], ids=lambda example: example.title)
def test_the_examples_of_the_catalogue_are_right(example: Example, tmp_path: Path) -> None:
    _, findings = examined(subject_of_source(tmp_path, example.code))
    marked = [number for number, line in enumerate(example.code.splitlines(), 1) if "# <- NDP05" in line]
    assert [finding.location and finding.location.line for finding in findings] == marked


def test_without_jitter_the_head_that_starts_at_zero_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "JITTERS", (0.0,))
    result, findings = examined(zoo.subject("encoder_without_mask"))
    assert (findings, result.status) == ([], "skipped")
    assert "do not depend on the sequence" in result.summary


# ------------------------------------------------------------------------------------------------- what is foretold


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(24, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 24)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(tokens))[0])  # type: ignore[no-any-return]


class Whole(Recurrent):
    """Sees the mean of the sequence."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        return self.head(x + x.mean(1, keepdim=True))  # type: ignore[no-any-return]


def flat(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.mT, targets, label_smoothing=0.2, weight=torch.rand(24) + 0.5)


def one_hot(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, F.one_hot(targets, 24).float())


@pytest.mark.parametrize("loss", [flat, smoothed, one_hot])
def test_the_loss_itself_tells_what_is_foretold(loss: Any) -> None:
    made = subject(build_model=Recurrent, loader=lambda: [(X, Y)], loss=loss)
    foretelling = read_foretelling(made, made.batches.first(1)[0])
    assert (foretelling.shift, foretelling.time) == (1, 1)
    assert bool(foretelling.counted.all())


def test_a_step_that_shifts_is_understood() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        return flat(model(batch[0])[:, :-1], batch[0][:, 1:])

    made = subject(build_model=Whole, loader=lambda: [[TOKENS]], step=step)
    _, (finding,) = examined(made)
    assert "is trained to predict it" in finding.message
    assert finding.evidence[0].message.startswith("`mean`")


def test_a_prefix_that_the_loss_ignores_may_be_seen_as_a_whole() -> None:
    class Prefix(Recurrent):
        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            prefix = x[:, :6] + x[:, :6].mean(1, keepdim=True)
            return self.head(self.rnn(torch.cat([prefix, x[:, 6:]], 1))[0])  # type: ignore[no-any-return]

    answers = torch.cat([torch.full_like(Y[:, :6], -100), Y[:, 6:]], 1)
    result, findings = examined(subject(build_model=Prefix, loader=lambda: [(X, answers)], loss=flat))
    assert (findings, result.status) == ([], "ok")
    _, (finding,) = examined(subject(build_model=Prefix, loader=lambda: [(X, Y)], loss=flat))
    assert finding.confidence is Confidence.CERTAIN


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        pytest.param(X, X.flip(1), id="backwards"),
        pytest.param(X[:, 1:], X[:, :-1], id="the token before"),
        pytest.param(torch.ones_like(X), torch.ones_like(X), id="one token for ever"),
        pytest.param(X.where(torch.rand(X.shape) < 0.7, 0), X, id="denoising"),
    ],
)
def test_other_tasks_have_no_order_of_time(inputs: Tensor, targets: Tensor) -> None:
    result, findings = examined(subject(build_model=Whole, loader=lambda: [(inputs, targets)], loss=flat))
    assert (findings, result.status) == ([], "skipped")
    assert "no order of time" in result.summary


def test_a_forecast_of_several_steps_ahead_is_no_fault() -> None:
    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])  # type: ignore[no-any-return]

    waves = torch.randn(8, 20, 3, generator=torch.Generator().manual_seed(0))
    result, findings = examined(
        subject(build_model=Forecast, loader=lambda: [(waves[:, :-2], waves[:, 2:])], loss=nn.MSELoss())
    )
    assert (findings, result.status) == ([], "ok")


def test_a_model_that_draws_random_numbers_elsewhere_is_not_judged() -> None:
    class Noisy(Recurrent):
        def forward(self, tokens: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(int(torch.empty(1, dtype=torch.int64).random_().item()))
            generator.seed()
            return super().forward(tokens) + torch.randn(24, generator=generator)

    result, findings = examined(subject(build_model=Noisy, loader=lambda: [(X, Y)], loss=flat))
    assert (findings, result.status) == ([], "skipped")
    assert "other outputs for the same batch" in result.summary
