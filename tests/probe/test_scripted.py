"""The loss that the static pass finds in the user's script: used where it fits, told where it does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from making import measured, subject_of_source
from torch import nn

from nndoctor.findings import Location
from nndoctor.probe import scripted
from nndoctor.probe.environment import environment
from nndoctor.probe.scripted import ScriptedLoss, find_scripted
from nndoctor.probe.subject import Subject, TaskKind

SCRIPT = """\
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, {width})

    def forward(self, x):
        out = self.body(x)
        return {outputs}


def build_model():
    return Net()


def loader():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 16, generator=generator)
    return [(x, {targets})]


def train():
    net = build_model()
    criterion = {loss}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in loader():
        optimizer.zero_grad()
        loss = criterion({call})
        loss.backward()
        optimizer.step()
"""
LABELS = "torch.arange(32) % 10"


def script(loss: str, outputs: str = "out", targets: str = LABELS, width: int = 10, call: str = "net(x), y") -> str:
    return SCRIPT.format(loss=loss, outputs=outputs, targets=targets, width=width, call=call)


def made(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str, **request: str) -> Subject:
    monkeypatch.chdir(directory)
    return subject_of_source(directory, text, **request)


def place_of_loss(text: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if "loss = criterion(" in line)


def test_the_loss_of_the_script_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = script("nn.CrossEntropyLoss(label_smoothing=0.3)")
    subject = made(monkeypatch, tmp_path, text)
    assert subject.loss_origin.startswith("CrossEntropyLoss, found by the scan at made_")
    assert subject.loss_origin.endswith(f".py:{place_of_loss(text)}")
    batch = subject.batches.first(1)[0]
    loss, logits = subject.compute_loss(subject.model, batch)
    expected = nn.functional.cross_entropy(logits, batch[1], label_smoothing=0.3)
    torch.testing.assert_close(loss, expected)
    assert (subject.task.kind, subject.task.classes) == (TaskKind.CLASSIFICATION, 10)


def test_a_softmax_before_the_loss_of_the_script_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = script("nn.CrossEntropyLoss()", outputs="F.softmax(out, dim=1)")
    _, (finding,) = measured("NDP03", made(monkeypatch, tmp_path, text))
    assert finding.measurements["cause"] == "softmax twice"
    assert finding.source_line is not None
    assert "F.softmax" in finding.source_line


FITS = {
    "targets without the last dimension": (
        script("nn.MSELoss()", targets="x.sum(1)", width=1, call="net(x), y.unsqueeze(1)"),
        "MSELoss, found by the scan",
        "called with targets in the shape and type of the outputs",
    ),
    "whole numbers beside logits": (
        script("nn.BCEWithLogitsLoss()", targets="(x[:, 0] > 0).long()", width=1, call="net(x), y.float()[:, None]"),
        "BCEWithLogitsLoss, found by the scan",
        "called with targets in the shape and type of the outputs",
    ),
    "log-probabilities": (
        script("nn.NLLLoss()", outputs="F.log_softmax(out, dim=1)"),
        "NLLLoss, found by the scan",
        "",
    ),
    "probabilities": (
        script("nn.BCELoss()", outputs="torch.sigmoid(out)", targets="(x[:, :10] > 0).float()"),
        "BCELoss, found by the scan",
        "",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_targets_are_brought_to_the_outputs_as_the_script_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    text, beginning, end = FITS[name]
    origin = made(monkeypatch, tmp_path, text).loss_origin
    assert origin.startswith(beginning)
    assert end in origin


DOES_NOT_FIT = {
    "the script applies the log-softmax": (
        script("nn.NLLLoss()", call="F.log_softmax(net(x), dim=1), y"),
        "cross-entropy, inferred",
        "the model's outputs are no log-probabilities",
    ),
    "the script applies the sigmoid": (
        script("nn.BCELoss()", targets="(x[:, :10] > 0).float()", call="torch.sigmoid(net(x)), y"),
        "binary cross-entropy with logits, inferred",
        "the model's outputs are no probabilities",
    ),
    "the script makes other targets": (
        script("nn.MSELoss()", call="net(x), F.one_hot(y, 10).float()"),
        "cross-entropy, inferred",
        "it does not fit outputs float32 (32, 10) and targets int64 (32,)",
    ),
}


@pytest.mark.parametrize("name", DOES_NOT_FIT)
def test_a_loss_that_does_not_fit_is_inferred_instead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    text, beginning, reason = DOES_NOT_FIT[name]
    note = made(monkeypatch, tmp_path, text).notes[0]
    assert note.startswith(f"loss: {beginning}")
    assert "Loss, found by the scan at made_" in note.partition("; not ")[2]
    assert note.endswith(reason)


@pytest.mark.parametrize("outputs", ["out", "F.softmax(out, dim=1)"])
def test_a_script_without_any_logarithm_forgets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outputs: str
) -> None:
    text = script("nn.NLLLoss()", outputs=outputs)
    subject = made(monkeypatch, tmp_path, text)
    assert subject.loss_origin.startswith("NLLLoss, found by the scan")
    _, (finding,) = measured("NDP03", subject)
    assert finding.measurements["cause"] == "no log-softmax"
    assert finding.location is not None
    assert finding.location.line == place_of_loss(text)


def test_the_users_word_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = script("nn.CrossEntropyLoss()") + "\n\ndef loss(outputs, targets):\n    return outputs.square().mean()\n"
    assert made(monkeypatch, tmp_path, text).loss_origin.startswith("`loss`, called with")


def test_the_file_of_the_data_is_read_where_that_of_the_model_has_no_loss(tmp_path: Path) -> None:
    model, train = tmp_path / "model.py", tmp_path / "train.py"
    model.write_text("from torch import nn\n\n\ndef build_model():\n    return nn.Linear(16, 10)\n", encoding="utf-8")
    train.write_text(script("nn.CrossEntropyLoss()"), encoding="utf-8")
    found = find_scripted([model, train], tmp_path)
    assert found is not None
    assert (found.name, found.location.path) == ("CrossEntropyLoss", "train.py")
    assert find_scripted([model], tmp_path) is None


@pytest.mark.parametrize("text", ["def broken(:\n", "raise SystemExit\n", ""])
def test_a_file_that_tells_nothing_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(text, encoding="utf-8")
    assert find_scripted([path], tmp_path) is None
    assert find_scripted([tmp_path / "absent.py"], tmp_path) is None


def test_a_scan_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(script("nn.CrossEntropyLoss()"), encoding="utf-8")
    monkeypatch.setattr(scripted, "LONGEST_SCAN_S", 0.0)
    assert find_scripted([path], tmp_path) is None


def test_the_process_of_the_user_imports_no_parser(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(script("nn.CrossEntropyLoss()"), encoding="utf-8")
    program = """
        import sys
        from pathlib import Path
        from nndoctor.probe.build import build_subject
        from nndoctor.probe.effort import EFFORTS
        from nndoctor.requests import ProbeRequest
        made = build_subject(ProbeRequest("net:build_model", "net:loader", Path.cwd()), EFFORTS["quick"])
        assert made.loss_origin.startswith("CrossEntropyLoss, found by the scan at net.py:"), made.loss_origin
        assert "libcst" not in sys.modules
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_function_is_made_with_its_options() -> None:
    loss = ScriptedLoss("cross_entropy", {"reduction": "sum"}, Location("train.py", 3)).make()
    logits, labels = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    torch.testing.assert_close(loss(logits, labels), 4 * torch.tensor(2.0).log())
