"""NDP08: what does not learn is named with its cause and line, what is not meant to learn is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.findings import Confidence

RULE = load_rule("NDP08")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {
    "all_zero_init": "same units",
    "constant_init": "same units",
    "dead_graph": "no gradient",
    "detached_features": "cut off",
    "discarded_block": "not used",
    "everything_frozen": "everything frozen",
    "first_block_skipped": "never used",
    "frozen_head": "frozen head",
    "half_precision_weights": "lost in rounding",
    "head_not_in_optimizer": "in no optimizer",
    "layers_in_list": "not registered",
    "lora_both_zero": "zero gradient",
    "nan_gradient": "not finite",
    "optimizer_before_head_swap": "optimizer made too early",
    "unused_layer": "never used",
}
# Models made of torch's classes alone, and an optimizer that was made inside a function.
WITHOUT_LINE = {"all_zero_init", "optimizer_before_head_swap"}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    assert measured("NDP08", subject_of_source(tmp_path, example.code))[1] == []


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP08", subject_of_source(tmp_path, example.code))[1]
    assert finding.location is not None


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_is_silent_on_healthy_models(name: str) -> None:
    result, findings = measured("NDP08", zoo.subject(name))
    assert findings == []
    trainable = result.measurements["parameters"] - result.measurements["frozen"]
    assert result.measurements["with a gradient"] == trainable
    assert result.measurements["largest first update by weights"] is None or (
        0 < result.measurements["largest first update by weights"] < 0.2
    )


@pytest.mark.parametrize("name", CAUSES)
def test_names_the_cause(name: str) -> None:
    (finding,) = measured("NDP08", zoo.subject(name))[1]
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.location is not None
    if name not in WITHOUT_LINE:
        assert finding.location.line == zoo.sick_line(name)


# ---------------------------------------------------------------------------------------- more that is healthy


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 10)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x))


class Auxiliary(Net):
    """The inferred loss reads the main output alone."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Any:
        return {"logits": super().forward(x), "extra": self.extra(self.features(x))}


class Follower(Net):
    def __init__(self) -> None:
        super().__init__()
        self.target_body = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x) + 0.1 * self.target_body(x).detach())


class WithoutGradients(Net):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class OnlyInEval(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calibration = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return logits if self.training else self.calibration(logits)


class OtherMethod(Net):
    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(32, 8)

    def embed(self, x: Tensor) -> Tensor:
        return self.projection(self.features(x))  # type: ignore[no-any-return]


class ReadFromOutside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Linear(32, 1)


def criticise(model: ReadFromOutside, x: Tensor) -> Tensor:
    return model.critic(model.features(x))  # type: ignore[no-any-return]


class ManyTasks(Net):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"first": nn.Linear(32, 10), "second": nn.Linear(32, 10)})

    def forward(self, x: Tensor, task: str = "first") -> Any:
        return self.head(self.features(x)) + self.heads[task](self.features(x))


class MaskToken(Net):
    def __init__(self) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(x if mask is None else torch.where(mask, self.mask_token, x))


class LayerDrop(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        for block in self.blocks:
            if not self.training or torch.rand(()) > 0.3:
                x = x + torch.relu(block(x))
        return x


class StraightThrough(Net):
    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        return x + (x.round() - x).detach()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def pair(model: Net) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam(model.body.parameters()), torch.optim.Adam(model.head.parameters())]


def warm_up_by_hand(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.0)


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "an output that the loss does not read": (Auxiliary, adam),
    "a network that follows": (Follower, adam),
    "features without gradients": (WithoutGradients, adam),
    "a layer of eval mode": (OnlyInEval, adam),
    "a layer of another method": (OtherMethod, adam),
    "a layer that others call": (ReadFromOutside, adam),
    "heads of other tasks": (ManyTasks, adam),
    "a token for masks": (MaskToken, adam),
    "layers dropped at random": (LayerDrop, adam),
    "a straight-through estimator": (StraightThrough, adam),
    "an optimizer for each part": (Net, pair),
    "a rate that a schedule sets": (Net, warm_up_by_hand),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_does_not_blame(name: str) -> None:
    model, optimizer = HEALTHY[name]
    loader = [(points(), labels()), (points().flip(0), labels().flip(0))]
    assert measured("NDP08", subject(build_model=model, loader=lambda: loader, optimizer=optimizer))[1] == []


def test_an_optimizer_of_the_head_alone_may_be_meant_so() -> None:
    made = subject(
        build_model=Net,
        loader=lambda: [(points(), labels())],
        optimizer=lambda model: torch.optim.Adam(model.head.parameters()),
    )
    (finding,) = measured("NDP08", made)[1]
    assert finding.confidence is Confidence.POSSIBLE


def test_layers_of_a_library_that_are_not_needed_are_no_fault() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert, self.head = transformers.BertModel(config), nn.Linear(16, 10)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.bert(tokens).last_hidden_state[:, 0])  # type: ignore[no-any-return]

    tokens = torch.randint(0, 24, (16, 8), generator=torch.Generator().manual_seed(0))
    assert measured("NDP08", subject(build_model=Classifier, loader=lambda: [(tokens, labels(16))]))[1] == []


def test_reports_figures_of_a_healthy_model() -> None:
    result, _ = measured("NDP08", subject(build_model=mlp, loader=lambda: [(points(), labels())], optimizer=adam))
    assert result.summary.startswith("4 of 4 trainable parameters learn")
    assert len(result.series["first update"].values) == 2


def test_an_optimizer_that_needs_a_closure_is_skipped() -> None:
    made = subject(
        build_model=mlp,
        loader=lambda: [(points(), labels())],
        loss=F.cross_entropy,
        optimizer=lambda model: torch.optim.LBFGS(model.parameters()),
    )
    assert measured("NDP08", made)[0].status == "skipped"
