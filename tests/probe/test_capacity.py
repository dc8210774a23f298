"""NDP18: growth without effect, and the many ways in which growth helps or need not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from making import labels, measured, mlp, points, subject, subject_of_source
from probe.data import batches, clusters, pictures, series
from torch import Tensor, nn

from nndoctor.catalog import Example, load_rule
from nndoctor.errors import UserError
from nndoctor.findings import Confidence

RULE = load_rule("NDP18")
TITLES: dict[str, Any] = {"ids": lambda example: example.title}
CAUSES = {"depth_without_activations": "capacity without effect", "width_ignored": "argument ignored"}


def grown(example: Example) -> dict[str, Any]:
    """What the example asks to grow."""
    line = next((line for line in example.code.splitlines() if line.startswith("grow = ")), None)
    return {} if line is None else {"grow": line.split('"')[1]}


@pytest.mark.parametrize("example", RULE.good, **TITLES)
def test_is_silent_on_good_examples(example: Example, tmp_path: Path) -> None:
    result, findings = measured("NDP18", subject_of_source(tmp_path, example.code, **grown(example)))
    assert (result.status, findings) == ("ok" if grown(example) else "skipped", [])


@pytest.mark.parametrize("example", RULE.bad, **TITLES)
def test_finds_bad_examples(example: Example, tmp_path: Path) -> None:
    (finding,) = measured("NDP18", subject_of_source(tmp_path, example.code, **grown(example)))[1]
    assert finding.location is not None
    marked = next(number for number, line in enumerate(example.code.splitlines(), 1) if line.endswith("# <- NDP18"))
    assert finding.location.line == marked


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CAUSES)
def test_finds_sick_models_at_their_line(name: str, seed: int) -> None:
    assert zoo.SICK[name] == "NDP18"
    (finding,) = measured("NDP18", zoo.subject(name, seed=seed))[1]
    assert finding.location is not None
    assert finding.location.line == zoo.sick_line(name)
    assert finding.measurements["cause"] == CAUSES[name]
    assert finding.confidence is (Confidence.CERTAIN if name == "width_ignored" else Confidence.LIKELY)


class Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.GRU(6, width, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


class Convolutional(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


def attention(depth: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(6, 32), encoder, nn.Flatten(), nn.LazyLinear(4))


def plain(depth: int) -> nn.Module:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), *layers, nn.Linear(32, 10))


HEALTHY: dict[str, tuple[Any, Any, str]] = {
    "hidden units": (lambda size=8: mlp(20, 10, size), lambda: batches(*clusters(), size=128), "size=2,16"),
    "channels": (lambda size=8: Convolutional(size), lambda: batches(*pictures(), size=64), "size=2,16"),
    "recurrent units": (lambda size=8: Recurrent(size), lambda: batches(*series(), size=128), "size=2,16,32"),
    "layers of a transformer": (lambda size=1: attention(size), lambda: batches(*series(), size=64), "size=1,3"),
    "layers of a perceptron": (lambda size=1: plain(size), lambda: batches(*clusters(), size=64), "size=1,4"),
    "the larger one first": (lambda size=8: mlp(20, 10, size), lambda: batches(*clusters(), size=128), "size=16,2"),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", HEALTHY)
def test_is_silent_where_growth_helps_or_nothing_is_left_to_gain(name: str, seed: int) -> None:
    build, loader, grow = HEALTHY[name]
    made = subject(request={"grow": grow, "seed": seed}, build_model=build, loader=loader, loss=nn.CrossEntropyLoss())
    result, findings = measured("NDP18", made)
    assert (result.status, findings) == ("ok", [])
    lowest = [float(figure or 0) for name, figure in result.measurements.items() if name.startswith("lowest")]
    assert lowest[-1] < 0.8 * lowest[0] or lowest[0] < 0.5


def test_models_without_the_option_are_skipped() -> None:
    assert measured("NDP18", zoo.subject("mlp"))[0].status == "skipped"


@pytest.mark.parametrize(
    ("grow", "message"),
    [
        ("hiden=1,2", "--grow hiden: .* has no such parameter; did you mean `hidden`?"),
        ("hidden=64", "write NAME=SMALL,LARGE"),
        ("64,128", "write NAME=SMALL,LARGE"),
    ],
)
def test_what_cannot_grow_is_refused(grow: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        subject(request={"grow": grow}, build_model=lambda hidden=3: mlp(), loader=lambda: [(points(), labels())])


def test_a_factory_without_arguments_cannot_grow() -> None:
    with pytest.raises(UserError, match=r"--grow hidden: .* has no such parameter; it has none"):
        subject(request={"grow": "hidden=1,2"}, build_model=lambda: mlp(16), loader=lambda: [(points(), labels())])


def test_an_object_cannot_grow() -> None:
    with pytest.raises(UserError, match="is no class or function that takes arguments"):
        subject(request={"grow": "hidden=1,2"}, build_model=mlp(), loader=lambda: [(points(), labels())])


def test_the_model_and_the_random_state_stay_as_they_are() -> None:
    made = zoo.subject("depth_without_activations")
    before = [parameter.clone() for parameter in made.model.parameters()]
    state = torch.get_rng_state()
    measured("NDP18", made)
    assert all(map(torch.equal, before, made.model.parameters()))
    assert torch.equal(torch.get_rng_state(), state)
