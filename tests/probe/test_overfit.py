"""NDP03: what is learned by heart, the causes of a plateau, and the ways of being slow that are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import QUICK, labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence, Finding
from nndoctor.probe.fitting import calm, small_batches

RULE = load_rule("NDP03")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "softmax_before_cross_entropy": "softmax twice",
    "sigmoid_before_logits_loss": "sigmoid on the outputs",
    "relu_on_logits": "ReLU on the outputs",
    "broadcast_loss": "broadcast shapes",
    "constant_inputs": "equal inputs",
    "all_zero_init": "only the bias learns",
    "nan_gradient": "not finite",
    "wrong_sign": "wrong sign",
    "dead_graph": "no gradient",
}
LOCATED = ["softmax_before_cross_entropy", "sigmoid_before_logits_loss", "relu_on_logits", "nan_gradient"]


def found(made: Any) -> list[Finding]:
    return measured("NDP03", made)[1]


def zoo_subject(name: str) -> Any:
    module = zoo.module(name)
    parts = {option: getattr(module, option) for option in ("loss", "step") if hasattr(module, option)}
    return subject(build_model=module.build_model, loader=module.loader, **parts)


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert found(subject_of_source(tmp_path, example.code)) == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = found(subject_of_source(tmp_path, example.code))
    assert finding.code == "NDP03"
    assert finding.location is not None


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_healthy_models_learn_by_heart(name: str) -> None:
    result, findings = measured("NDP03", zoo_subject(name))
    assert findings == []
    final, initial = result.measurements["final loss"], result.measurements["initial loss"]
    floor = result.measurements["lowest possible loss"] if name == "label_smoothing" else 0
    assert final - floor < 0.15 * (initial - floor)
    assert result.series["loss"].values[-1] == pytest.approx(final, rel=0.5)


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause(name: str) -> None:
    (finding,) = found(zoo_subject(name))
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.confidence is Confidence.CERTAIN


@pytest.mark.parametrize("name", LOCATED)
def test_points_at_the_operation(name: str) -> None:
    (finding,) = found(zoo_subject(name))
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)
    assert finding.source_line is not None
    assert "# <- sick" in finding.source_line


# --------------------------------------------------------------------------------------- more that is broken


class Head(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], classes: int = 10) -> None:
        super().__init__()
        self.body, self.activation = mlp(classes=classes), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x))


def softmax_in_the_step(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).softmax(1), batch[1])


def sigmoid_in_the_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.sigmoid(), targets)


def broadcast_in_the_step(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def detached(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).detach(), batch[1])


class Lightning(Head):
    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])


X, Y = points(), labels()
BINARY = (Y > 4).float()[:, None]
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "softmax in the step": ({"step": softmax_in_the_step}, "softmax twice"),
    "sigmoid in the loss": (
        {"loss": sigmoid_in_the_loss, "build_model": lambda: mlp(classes=1), "loader": lambda: [(X, BINARY)]},
        "sigmoid twice",
    ),
    "softmax in the model of a training step": (
        {"build_model": lambda: Lightning(lambda logits: logits.softmax(1))},
        "softmax twice",
    ),
    "logits for NLLLoss": ({"loss": nn.NLLLoss()}, "no log-softmax"),
    "probabilities for NLLLoss": (
        {"loss": nn.NLLLoss(), "build_model": lambda: Head(lambda logits: logits.softmax(1))},
        "no log-softmax",
    ),
    "tanh for targets beyond it": (
        {"build_model": lambda: Head(torch.tanh, 1), "loader": lambda: [(X, 5 * X[:, :1])], "loss": nn.MSELoss()},
        "tanh on the outputs",
    ),
    "broadcast in the step": (
        {"step": broadcast_in_the_step, "build_model": lambda: mlp(classes=1), "loader": lambda: [(X, X[:, 0])]},
        "broadcast shapes",
    ),
    "detached": ({"step": detached}, "no gradient"),
    "everything frozen": ({"build_model": lambda: mlp().requires_grad_(False)}, "everything frozen"),
    "a loss that is clipped from above": (
        {"loss": lambda outputs, targets: F.cross_entropy(outputs, targets).clamp(max=1.0)},
        "zero gradient",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_names_the_cause_wherever_it_is(name: str) -> None:
    attributes, cause = BROKEN[name]
    (finding,) = found(subject(**{"build_model": mlp, "loader": lambda: [(X, Y)], **attributes}))
    assert finding.measurements["cause"] == cause


def test_a_softmax_in_front_of_the_models_own_loss_is_found_at_its_line(tmp_path: Path) -> None:
    made = subject_of_source(
        tmp_path,
        """\
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, 10)

    def forward(self, x, targets):
        logits = self.body(x)
        chances = logits.softmax(1)
        return logits, F.cross_entropy(chances, targets)


def build_model():
    return Net()


def loader():
    return [(torch.randn(32, 16), torch.arange(32) % 10)]
""",
    )
    (finding,) = found(made)
    assert finding.measurements["cause"] == "softmax twice"
    assert finding.source_line == "        chances = logits.softmax(1)"


def test_classes_whose_logits_a_relu_holds_at_zero_are_named() -> None:
    head = Head(torch.relu)
    assert isinstance(head.body, nn.Sequential)
    last = head.body[-1]
    with torch.no_grad():
        last.bias.fill_(3)
        last.bias[3], last.bias[7] = -50, -50  # far below anything that the weights add
    (finding,) = found(subject(build_model=lambda: head, loader=lambda: [(X, Y)]))
    assert finding.measurements["cause"] == "dead outputs"
    assert "those of class 3, 7 are 0 for every example" in finding.message
    assert finding.source_line is not None
    assert "self.activation" in finding.source_line


def test_says_the_formula_of_two_softmaxes() -> None:
    (finding,) = found(zoo_subject("softmax_before_cross_entropy"))
    assert "cannot fall below 1.461 (log(e + 10 - 1) - 1)" in finding.message


# ---------------------------------------------------------------------------------------- more that is healthy


class LossOfItsOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) ** 2).mean() - 3  # its floor is at -3, which only the model knows


class Noisy(nn.Module):
    """Functional dropout that is always on: the mask is the same in each step of the fit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(torch.relu(self.first(x)), 0.3))  # type: ignore[no-any-return]


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.mul_(0.5))  # type: ignore[no-any-return]


HEALTHY: dict[str, dict[str, Any]] = {
    "all labels are the same": {"loader": lambda: [(X, torch.zeros(32, dtype=torch.long))]},
    "a batch of one": {"loader": lambda: [(X[:1], Y[:1])]},
    "always random": {"build_model": Noisy},
    "changes its input": {"build_model": InPlace},
    "a loss of its own": {"build_model": LossOfItsOwn, "loader": lambda: [X]},
    "a bottleneck": {"build_model": lambda: nn.Sequential(nn.Linear(16, 1), nn.Linear(1, 16)), "loader": lambda: [X]},
    "two noisy classes": {"build_model": lambda: nn.Linear(1, 2), "loader": lambda: [(X[:, :1], Y % 2)]},
    "categories whose labels are noisy": {
        "loader": lambda: [(torch.arange(32)[:, None].expand(32, 16) % 4 / 1.0, torch.arange(32) // 4 % 2)]
    },
    "in double precision": {"build_model": lambda: mlp().double(), "loader": lambda: [(X.double(), Y)]},
    "a critic without a floor": {
        "build_model": lambda: mlp(classes=1),
        "step": lambda model, batch: model(batch[0]).mean() - model(-batch[0]).mean(),
    },
    "a log-softmax": {"build_model": lambda: Head(lambda logits: logits.log_softmax(1)), "loss": nn.NLLLoss()},
    "a log-softmax over positions": {
        "build_model": lambda: Head(lambda logits: logits.view(-1, 5, 2).log_softmax(-1)),
        "loader": lambda: [(X, torch.arange(160).view(32, 5) % 2)],
    },
    "tanh within its range": {
        "build_model": lambda: Head(torch.tanh, 1),
        "loader": lambda: [(X, X[:, :1].tanh())],
        "loss": nn.MSELoss(),
    },
}


@pytest.mark.parametrize("name", HEALTHY)
def test_does_not_blame(name: str) -> None:
    assert found(subject(**{"build_model": mlp, "loader": lambda: [(X, Y)], **HEALTHY[name]})) == []


def test_under_autocast_too() -> None:
    healthy = subject(request={"amp": True}, build_model=mlp, loader=lambda: [(X, Y)], loss=nn.CrossEntropyLoss())
    assert found(healthy) == []
    sick = subject(
        request={"amp": True},
        build_model=lambda: Head(lambda logits: logits.softmax(1)),
        loader=lambda: [(X, Y)],
        loss=nn.CrossEntropyLoss(),
    )
    assert [finding.measurements["cause"] for finding in found(sick)] == ["softmax twice"]


def test_a_fit_that_runs_out_of_time_accuses_nobody() -> None:
    result, findings = measured("NDP03", zoo_subject("cnn"), replace(QUICK, seconds=0.0))
    assert findings == []
    assert result.summary.endswith("and still falling")


def test_the_same_seed_gives_the_same_curve() -> None:
    curves = [measured("NDP03", zoo_subject("cnn"))[0].series["loss"].values for _ in range(2)]
    assert curves[0] == curves[1]


def test_examples_have_as_many_labels_as_they_can() -> None:
    targets = torch.tensor([0] * 29 + [1, 2, 3])
    made = subject(build_model=mlp, loader=lambda: [(X, targets)])
    batch, count = next(small_batches(made, 8))
    assert count == 8
    assert sorted(batch[1].tolist()) == [0, 0, 0, 0, 0, 1, 2, 3]


def test_a_model_for_one_batch_size_gets_whole_batches() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.view(32, 16))  # type: ignore[no-any-return]

    made = subject(build_model=Fixed, loader=lambda: [(X, Y)])
    result, findings = measured("NDP03", made)
    assert result.measurements["examples"] == 32
    assert findings == []


def test_dropout_of_every_kind_is_off() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.rnn = nn.LSTM(16, 16, 2, dropout=0.5)
            self.attention = nn.MultiheadAttention(16, 2, dropout=0.5)
            self.norm = nn.BatchNorm1d(16)

    model = Model()
    calm(model)
    assert not model.drop.training
    assert model.rnn.dropout == model.attention.dropout == 0
    assert model.training
    assert model.norm.training


def test_predictions_stand_beside_their_labels() -> None:
    result, _ = measured("NDP03", subject(build_model=mlp, loader=lambda: [(X, Y)]), QUICK)
    assert result.measurements["accuracy"] == 1
    assert result.measurements["predicted"] == result.measurements["labels"] == "0 1 2 3 4 5 6 7"
