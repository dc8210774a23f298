"""Thresholds as settings: every one is listed with its reason, moves its rule, and is refused where it is none."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import nndoctor.probe
import nndoctor.scan.rules
from nndoctor.catalog import rule_names
from nndoctor.config import load_settings
from nndoctor.errors import UserError
from nndoctor.findings import Report
from nndoctor.probe.checkup import checkup
from nndoctor.requests import ProbeRequest, ScanRequest
from nndoctor.scan.engine import scan
from nndoctor.thresholds import Threshold, choose, known, thresholds_of

FAST = """from torch import nn, optim
model = nn.Sequential(nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))
optimizer = optim.Adam(model.parameters(), lr=0.1)
"""


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    choose({})


def made() -> list[Threshold[int] | Threshold[float]]:
    """Those that the modules of rules and probes make when they are imported."""
    found = []
    for package in (nndoctor.scan.rules, nndoctor.probe):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(importlib.import_module(info.name)).values()
            found += [value for value in values if isinstance(value, Threshold)]
    return list({id(threshold): threshold for threshold in found}.values())


def test_what_is_listed_is_what_is_made() -> None:
    thresholds = made()
    assert Counter(threshold.key for threshold in thresholds).most_common(1)[0][1] == 1, "no name is given twice"
    assert {threshold.key: threshold for threshold in thresholds} == known()


@pytest.mark.parametrize("threshold", known().values(), ids=known())
def test_each_says_what_it_belongs_to_and_why(threshold: Threshold[int] | Threshold[float]) -> None:
    assert threshold.code in rule_names()
    assert threshold.name == threshold.name.lower().strip("-")
    assert type(threshold.default) in (int, float)
    assert threshold.why[0].isupper()
    assert threshold.why.endswith(".")
    assert thresholds_of(threshold.code).count(threshold) == 1


def test_a_chosen_number_holds_until_others_are_chosen() -> None:
    whole, broken = Threshold("ND214", "a", 3, "Why."), Threshold("ND214", "b", 0.5, "Why.")
    choose({"ND214.a": 4, "ND214.b": 2})
    assert (whole.value, broken.value) == (4, 2.0)
    assert isinstance(broken.value, float)
    choose({})
    assert (whole.value, broken.value) == (3, 0.5)


def test_they_are_settings(tmp_path: Path) -> None:
    (tmp_path / "nndoctor.toml").write_text(
        "[thresholds.ND214]\nadam-too-high = 1\n[thresholds]\nND414.sigmoids = 3\n", encoding="utf-8"
    )
    settings = load_settings(tmp_path, ["thresholds.ND214.too-low=1e-9"])
    assert settings.thresholds == {"ND214.adam-too-high": 1.0, "ND214.too-low": 1e-9, "ND414.sigmoids": 3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[thresholds.ND21]\na = 1", r"^nndoctor\.toml: \[thresholds\] has no key 'ND21'; did you mean ND21"),
        (
            "[thresholds.ND214]\nadam-to-high = 1",
            r"\[thresholds\.ND214\] has no key 'adam-to-high'; did you mean adam-too",
        ),
        ("[thresholds.ND214]\nadam-too-high = 'x'", "adam-too-high must be a number above 0$"),
        ("[thresholds.ND214]\nadam-too-high = true", "adam-too-high must be a number above 0$"),
        ("[thresholds.ND214]\nadam-too-high = nan", "adam-too-high must be a number above 0$"),
        ("[thresholds.ND414]\nsigmoids = 2.5", "sigmoids must be a whole number above 0$"),
        ("[thresholds.ND214]\nadam-too-high = 0", "adam-too-high must be a number above 0$"),
        ("[thresholds.ND414]\nsigmoids = 0", "sigmoids must be a whole number above 0$"),
        ("[thresholds]\nND214 = 1", r"\[thresholds\]: ND214 must be a table$"),
        ("thresholds = 3", "thresholds must be a table$"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nndoctor.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        load_settings(tmp_path)


def test_a_scan_heeds_them_and_only_where_they_are_set(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(FAST, encoding="utf-8")

    def codes(**thresholds: float) -> list[str]:
        return [it.code for it in scan(ScanRequest((path,), tmp_path, thresholds=thresholds)).findings]

    assert codes() == ["ND214"]
    assert codes(**{"ND214.adam-too-high": 0.2}) == []
    assert codes() == ["ND214"]


MODEL = """import torch
from torch import nn
data = [(torch.randn(16, 4), torch.randn(16, 1)) for _ in range(4)]
loss = nn.MSELoss()
def model():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
"""


def test_the_child_that_probes_heeds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MODEL, encoding="utf-8")
    request = ProbeRequest(
        "net.py:model", "net.py:data", tmp_path, loss="net.py:loss", effort="quick", select=frozenset({"NDP11"})
    )
    assert [probe.status for probe in checkup(request, lambda text: None).probes] == ["ok"]
    moved = replace(request, thresholds={"NDP11.large": 0.01})
    assert [probe.status for probe in checkup(moved, lambda text: None).probes] == ["finding"]


def test_probe_hands_them_on(run, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[ProbeRequest] = []

    def noted(request: ProbeRequest, *rest: object) -> Report:
        requests.append(request)
        return Report("probe", request.model)

    monkeypatch.setattr("nndoctor.probe.checkup", SimpleNamespace(checkup=noted))
    run("probe", "m:net", "--data", "m:data", "--config", "thresholds.NDP11.large=7")
    assert [request.thresholds for request in requests] == [{"NDP11.large": 7.0}]


def test_the_processes_of_a_pool_heed_them(run) -> None:
    for number in range(20):
        Path(f"train{number}.py").write_text(FAST, encoding="utf-8")
    options = ("scan", "--output-format", "concise", "--no-cache", "--jobs", "2")
    assert run(*options)[1].count("ND214") == 20
    assert run(*options, "--config", "thresholds.ND214.adam-too-high=0.2") == (0, "", "")


def test_the_cache_tells_them_apart(run) -> None:
    Path("train.py").write_text(FAST, encoding="utf-8")
    options = ("scan", "--output-format", "concise", "--cache-dir", "cache")
    assert run(*options)[0] == 1
    assert run(*options, "--config", "thresholds.ND214.adam-too-high=0.2") == (0, "", "")
    assert run(*options)[0] == 1


def test_explain_and_config_show_them(run) -> None:
    assert "`thresholds.ND214.too-low = 1e-07`: Weights are" in run("explain", "ND214")[1]
    Path("nndoctor.toml").write_text("[thresholds]\nND214.too-low = 1e-9\n", encoding="utf-8")
    lines = [" ".join(line.split()) for line in run("config")[1].splitlines()]
    assert "ND214.too-low = 1e-09 # nndoctor.toml" in lines
    assert "ND214.adam-too-high = 0.05 # default" in lines


def test_without_any_set_none_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nndoctor.thresholds.known", lambda: pytest.fail("the source is read"))
    (tmp_path / "nndoctor.toml").write_text("pedantic = true\n", encoding="utf-8")
    assert load_settings(tmp_path).thresholds == {}
