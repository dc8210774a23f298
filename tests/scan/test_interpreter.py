"""Following a program: the scripts in cases/ give what they mark, calls pass values on, a run leaves its events."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import libcst as cst
import pytest
from programs import (
    MAIN,
    Case,
    describe,
    kinds,
    marks,
    only,
    program_text,
    read_cases,
    reported,
    run,
    scan_files,
    shown,
)

from nndoctor.scan.values import State

CASES = read_cases("findings")
# The rules through which these programs look at the interpreter; small as they are, others may mind them.
ASKED = frozenset(mark.code for case in CASES for mark in marks({MAIN: case.script, **case.files}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.topic}: {case.title}")
def test_a_program_gives_what_it_marks(case: Case, tmp_path: Path) -> None:
    texts = {MAIN: program_text(case.script), **case.files}
    report = scan_files(tmp_path, texts, select=ASKED)
    assert report.failures == ()
    assert reported(report) == marks(texts)


def test_every_topic_has_sick_and_healthy_programs() -> None:
    sick = {case.topic for case in CASES if marks({MAIN: case.script, **case.files})}
    healthy = {case.topic for case in CASES if not marks({MAIN: case.script, **case.files})}
    assert sick == healthy == {case.topic for case in CASES}


VALUES = read_cases("values")
CALLS = {"classes", "contexts", "decorators", "functions", "parameters"}


@pytest.mark.parametrize(
    "case", [case for case in VALUES if case.topic in CALLS], ids=lambda case: f"{case.topic}: {case.title}"
)
def test_what_calls_pass_on(case: Case, tmp_path: Path) -> None:
    assert shown(tmp_path, case.script) == case.shown


@pytest.mark.parametrize("cases", [CASES, VALUES], ids=["findings", "values"])
def test_a_topic_has_each_title_once(cases: list[Case]) -> None:
    assert [name for name, count in Counter((case.topic, case.title) for case in cases).items() if count > 1] == []


# Events

TRAINING = """
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    opt = optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
    """
STEP = ["reset", "forward", "loss", "backward", "clip", "step"]


def test_a_training_loop_leaves_its_steps_in_order_twice(tmp_path: Path) -> None:
    assert kinds(run(tmp_path, TRAINING), *STEP) == STEP * 2


def test_an_event_knows_its_loop(tmp_path: Path) -> None:
    for event in run(tmp_path, TRAINING).of(*STEP):
        [loop] = event.loops
        assert type(loop.node) is cst.For
        assert describe(loop.iterable) == "name loader"


def test_gradients_go_through_their_states(tmp_path: Path) -> None:
    program = run(tmp_path, TRAINING)
    before = [next(iter(event.options(event.details["grads"]))) for event in program.of("step")]
    assert [state.name for state in before if type(state) is State] == ["fresh", "fresh"]


def test_without_a_reset_they_are_stale_from_the_second_step_on(tmp_path: Path) -> None:
    program = run(tmp_path, TRAINING.replace("opt.zero_grad()", "pass"))
    before = [next(iter(event.options(event.details["grads"]))) for event in program.of("step")]
    assert [state.name for state in before if type(state) is State] == ["fresh", "stale"]


def test_a_forward_knows_the_mode_that_was_set_last(tmp_path: Path) -> None:
    program = run(
        tmp_path,
        """
        model = nn.Sequential(nn.Linear(3, 3))
        model(x)
        model.eval()
        model(x)
        model.train(flag)
        model(x)
        """,
    )
    modes = [{state.name for state in event.options(event.details["mode"])} for event in program.of("forward")]
    assert modes == [{"train"}, {"eval"}, {"train", "eval"}]


def test_the_graph_is_off_where_no_grad_says_so(tmp_path: Path) -> None:
    program = run(
        tmp_path,
        """
        @torch.no_grad()
        def predict(x): return model(x)
        model = nn.Sequential(nn.Linear(3, 3))
        predict(x)
        model(x)
        with torch.no_grad(): model(x)
        with torch.no_grad(), torch.enable_grad(): model(x)
        torch.set_grad_enabled(False)
        model(x)
        """,
    )
    assert [describe(event.grad) for event in program.of("forward")] == [False, True, False, True, False]


def test_what_a_branch_assumes_is_noted_with_the_event(tmp_path: Path) -> None:
    program = run(tmp_path, "if flag: show(1)\nelse: show(2)")
    assumed = [{describe(guard): truth for guard, truth in event.assumed.items()} for event in program.of("loss")]
    assert assumed == [{"name flag": True}, {"name flag": False}]


def test_only_the_outermost_forward_is_one(tmp_path: Path) -> None:
    program = run(
        tmp_path,
        """
        class Inner(nn.Module):
            def forward(self, x): return x
        class Outer(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = Inner()
            def forward(self, x): return self.inner(x)
        Outer()(x)
        """,
    )
    assert only(program, "forward").subject.cls.name == "Outer"


def test_engines_are_noted(tmp_path: Path) -> None:
    program = run(tmp_path, "from accelerate import Accelerator\nAccelerator()")
    assert program.engines == {"accelerate.Accelerator"}


def test_what_is_backpropagated_is_known_afterwards(tmp_path: Path) -> None:
    program = run(tmp_path, "a = F.mse_loss(x, y); b = F.mse_loss(x, z)\n(2 * a).backward()")
    assert [id(event.details["result"]) in program.backpropagated for event in program.of("loss")] == [True, False]


def test_a_function_is_run_once_for_the_same_arguments_unless_it_trains(tmp_path: Path) -> None:
    script = "def f(x): return x.softmax(1)\nf(x); f(x); f(x)\ndef g(x): show(x); x.backward()\ng(x); g(x)"
    assert kinds(run(tmp_path, script), "backward") == ["backward", "backward"]


def test_only_what_the_script_imports_is_run(tmp_path: Path) -> None:
    files = {"used.py": "import torch\nx = 1\n", "unused.py": "import torch\n", "indirect.py": "import torch\n"}
    files["used.py"] += "import indirect\n"
    program = run(tmp_path, "import used\n", files)
    assert [source.display for source in program.sources] == ["main.py", "used.py", "indirect.py"]
