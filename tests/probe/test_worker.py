"""Parent and child: a probe may raise, hang or die, and costs its own result only; nothing outlives the parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nndoctor.errors import UserError
from nndoctor.exhibits import Pictures, Signals, Table, Tokens
from nndoctor.findings import (
    Confidence,
    Evidence,
    Failure,
    Finding,
    Location,
    ProbeResult,
    Report,
    Series,
    Severity,
)
from nndoctor.probe import checkup as parent
from nndoctor.probe.checkup import checkup
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.messages import (
    Done,
    Failed,
    Measured,
    Message,
    Order,
    Ready,
    Refused,
    Stage,
    Started,
    decode,
    decode_order,
    encode,
    encode_order,
)
from nndoctor.probe.worker import serve
from nndoctor.requests import ProbeRequest

HEADER = """
import os, signal, sys, time
import torch
from torch import nn

loss = nn.CrossEntropyLoss()
met = 0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        global met
        met += len(x) == 8  # the few examples of NDP03
        if met > 3:
            met = 0
            trouble()
        return self.body(x)


def loader():
    return [(torch.randn(32, 4), torch.arange(32) % 3)]
"""
Write = Callable[..., ProbeRequest]
PROBES = frozenset({"NDP01", "NDP03", "NDP06"})


@pytest.fixture
def request_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProbeRequest]:
    """Writes `train.py` with this trouble in it, and names it as a user would."""

    def write(trouble: str, select: frozenset[str] = PROBES) -> ProbeRequest:
        source = HEADER + "\n\ndef trouble():\n" + textwrap.indent(textwrap.dedent(trouble), "    ")
        (tmp_path / "train.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        return ProbeRequest(
            "train:Net", "train:loader", root=tmp_path, loss="train:loss", effort="quick", select=select
        )

    return write


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Shortens the parent's deadlines; the child keeps its own."""

    def shorten(**seconds: float) -> None:
        monkeypatch.setattr(parent, "EFFORTS", {**EFFORTS, "quick": replace(EFFORTS["quick"], **seconds)})

    return shorten


def served(request: ProbeRequest) -> list[Message]:
    """The messages of a child that runs in this process."""
    messages: list[Message] = []
    try:
        serve(Order(request), messages.append)
    finally:
        sys.modules.pop("train", None)
        sys.path.remove(str(request.root)) if str(request.root) in sys.path else None
    return messages


def statuses(report: Report) -> dict[str, str]:
    return {probe.code: probe.status for probe in report.probes}


# ------------------------------------------------------------------------------- what costs one probe only


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        pytest.param("os._exit(3)", "the user's code ended the process with status 3", id="exits"),
        pytest.param(
            "print('the last straw'); os.kill(os.getpid(), signal.SIGKILL)",
            "the process was killed, probably for want of memory; its last words: the last straw",
            id="is killed",
        ),
        pytest.param(
            "import ctypes; ctypes.string_at(0)", r"the process was ended by SIGSEGV at train.py:29", id="crashes"
        ),
    ],
)
def test_a_probe_that_ends_the_process_costs_its_own_result(request_for: Write, trouble: str, sentence: str) -> None:
    report = checkup(request_for(trouble), lambda text: None)
    assert statuses(report) == {"NDP01": "ok", "NDP03": "failed", "NDP06": "ok"}
    assert [(failure.code, failure.message) for failure in report.failures] == [("NDP03", sentence)]


def test_a_probe_that_hangs_is_ended(request_for: Write, deadlines: Callable[..., None]) -> None:
    deadlines(seconds=8.0)
    report = checkup(request_for("time.sleep(1000)"), lambda text: None)
    assert statuses(report) == {"NDP01": "ok", "NDP03": "failed", "NDP06": "ok"}
    assert report.failures == (Failure("took longer than 8 s and was ended; --effort full waits longer", "NDP03"),)


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        pytest.param("raise KeyError('weights')", "KeyError: 'weights' at train.py:29", id="raises"),
        pytest.param("sys.exit(1)", "the user's code ended the program at train.py:29", id="exits politely"),
        pytest.param(
            "raise MemoryError('so much')",
            "not enough memory: MemoryError: so much; use smaller batches",
            id="runs out of memory",
        ),
    ],
)
def test_a_probe_that_raises_costs_its_own_result(request_for: Write, trouble: str, sentence: str) -> None:
    messages = served(request_for(trouble))
    (failure,) = [message.failure for message in messages if isinstance(message, Failed)]
    assert failure == Failure(sentence, "NDP03", Location("train.py", 29))
    measured = [message.result.code for message in messages if isinstance(message, Measured)]
    assert measured == ["NDP01", "NDP06"]
    assert messages[-1] == Done()


def test_what_the_users_code_prints_stays_out_of_the_report(request_for: Write) -> None:
    noise = 'for stream in (sys.stdout, sys.stderr): print(\'{"kind": "Done"}\', file=stream)'
    progress: list[str] = []
    report = checkup(request_for(noise), progress.append)
    assert statuses(report) == {"NDP01": "ok", "NDP03": "ok", "NDP06": "ok"}
    assert progress[-1] == "NDP06 lr-range (3 of 3)"
    assert "waiting for the first batch of train:loader" in progress
    assert report.notes[0] == "loss: `CrossEntropyLoss`, called with outputs and targets (cross-entropy)"
    assert (report.command, report.target) == ("probe", "train:Net")


def test_the_same_seed_gives_the_same_report(request_for: Write) -> None:
    request = request_for("pass")

    def figures() -> list[object]:
        results = [message.result for message in served(request) if isinstance(message, Measured)]
        return [(result.summary, result.measurements, result.series, result.steps) for result in results]

    assert figures() == figures()


# --------------------------------------------------------------------------------- what the set-up refuses


def test_a_loader_that_hangs_is_named(request_for: Write, deadlines: Callable[..., None]) -> None:
    request = request_for("pass")
    with (request.root / "train.py").open("a") as file:
        file.write("\n\ndef stuck():\n    while True:\n        time.sleep(1)\n    yield\n")
    deadlines(setup_seconds=15.0)
    with pytest.raises(UserError, match=r"waiting for the first batch of train:stuck took longer than 15 s; try num_w"):
        checkup(replace(request, data="train:stuck"), lambda text: None)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param("os._exit(0)", "ended the process with status 0, while importing train:Net", id="ends"),
        pytest.param(
            "raise OSError('no disk')", "importing `train` failed at train.py:31: OSError: no disk", id="raises"
        ),
    ],
)
def test_a_set_up_that_fails_is_the_users_to_repair(request_for: Write, source: str, sentence: str) -> None:
    request = request_for("pass")
    with (request.root / "train.py").open("a") as file:
        file.write(f"\n\n{source}\n")
    with pytest.raises(UserError, match=sentence):
        checkup(request, lambda text: None)


def test_without_torch_the_extra_is_named(request_for: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    messages = served(request_for("pass"))
    assert messages[-1] == Refused('probing needs PyTorch, which is not installed here: pip install "nndoctor[probe]"')


def test_nothing_selected_is_nothing_run(request_for: Write) -> None:
    messages = served(request_for("pass", frozenset({"ND101"})))
    assert [message.codes for message in messages if isinstance(message, Ready)] == [()]
    assert messages[-1] == Done()


def test_what_is_ignored_is_not_run(request_for: Write) -> None:
    messages = served(replace(request_for("pass"), ignore=frozenset({"NDP03"})))
    assert [message.code for message in messages if isinstance(message, Started)] == ["NDP01", "NDP06"]


# ----------------------------------------------------------------------------------------------- processes


def test_the_parent_never_imports_torch(request_for: Write) -> None:
    request_for("pass")
    done = run_parent("print(sorted({'torch', 'numpy'} & set(sys.modules)))").communicate()[0]
    assert done.strip().endswith("[]")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_process_outlives_the_parent(request_for: Write, tmp_path: Path, number: signal.Signals) -> None:
    request_for(
        """
        import subprocess
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        with open("pids", "w") as file:
            file.write(f"{os.getpid()} {helper.pid} .")
        time.sleep(1000)
        """
    )
    process = run_parent("")
    wait_until(lambda: (tmp_path / "pids").is_file() and (tmp_path / "pids").read_text().endswith("."))
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()[:2]]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    process.communicate()
    wait_until(lambda: not any(map(is_alive, pids)))


def run_parent(afterwards: str) -> subprocess.Popen[str]:
    """A parent process of its own that runs NDP03 on `train.py` in the working directory."""
    program = f"""
    import sys
    from pathlib import Path
    sys.path.insert(0, {str(Path(parent.__file__).parents[2])!r})
    from nndoctor.probe.checkup import checkup
    from nndoctor.requests import ProbeRequest
    request = ProbeRequest("train:Net", "train:loader", root=Path.cwd(), loss="train:loss", effort="quick",
                           select=frozenset(["NDP03"]))
    checkup(request, lambda text: None)
    {afterwards}
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a dead one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------------ messages


FINDING = Finding(
    code="NDP03",
    name="overfit-batch",
    severity=Severity.ERROR,
    confidence=Confidence.CERTAIN,
    message="stays at 1.461",
    treatment="return logits",
    location=Location("train.py", 3, 5),
    source_line="x = 1",
    evidence=(Evidence("softmax here", Location("model.py", 7), "y = 2"), Evidence("1.461")),
    measurements={"loss": 1.461, "cause": "softmax twice", "floor": None, "steps": 3, "flag": True},
)
RESULT = ProbeResult(
    code="NDP03",
    name="overfit-batch",
    status="finding",
    summary="stays",
    measurements={"infinite": float("inf")},
    series={
        "curve": Series((2.0, 1.0), "loss", x=(1e-3, 1e-2), log_x=True, references={"ln 10": 2.3}),
        "matrix": Series(((1.0, 0.0), (0.0, 1.0)), "influence"),
        "bars": Series((1.0, 2.0), "size", names=("a", "b"), marks={"yours": 0.1}, band=(0.0, 1.0), y_label="size"),
    },
    seconds=1.5,
    steps=60,
)


EXHIBITS = (
    Pictures("x", "uint8", 1, 1, 1, ("AA==",), ("label 3",)),
    Tokens("ids", "int64", ((1, 2), (3, 4)), (("a", "b"), ("c", "d"))),
    Signals("wave", "float32", (((0.5, 1.0),),)),
    Table("row", "float32", ((1.0, 2.0),)),
)


@pytest.mark.parametrize(
    "message",
    [
        Stage("importing torch"),
        Ready(("NDP01", "NDP03"), ("loss: mine", "line\nbreak"), EXHIBITS, EXHIBITS[:1]),
        Refused("no such module"),
        Started("NDP01"),
        Measured(RESULT, (FINDING,)),
        Failed(Failure("KeyError", "NDP03", Location("train.py", 3))),
        Done(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_survives_the_pipe(message: Message) -> None:
    line = encode(message)
    assert "\n" not in line
    assert decode(line) == message


def test_an_order_survives_the_pipe() -> None:
    request = ProbeRequest("a:b", "c:d", root=Path("/x"), select=frozenset({"NDP01"}), arguments={"hidden": "3"})
    for order in (Order(request), Order(replace(request, select=None), ("NDP01",))):
        assert decode_order(encode_order(order)) == order
