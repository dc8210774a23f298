"""Whatever a program looks like: nothing raises, two scans agree, and the work is bounded."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import hypothesmith
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import HEADER, MAIN, Mark, marks, read_cases, reported, scan_files
from random_programs import programs

from nndoctor.findings import Report
from nndoctor.requests import ScanRequest
from nndoctor.scan.engine import scan

# Far above what any of them takes; a test that meets it has met work without bounds.
pytestmark = pytest.mark.timeout(120)

# The same programs each time: what the suite says of a change must not depend on luck.
unhurried = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def errors_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNDOCTOR_DEBUG", "1")


def marked_kinds(report: Report) -> set[Mark]:
    """The findings of the rules that are marked here; such programs may well give others."""
    return {mark for mark in reported(report) if mark.code in ("ND101", "ND405")}


def scan_text(text: str) -> Report:
    return scan(ScanRequest(paths=(), root=Path(__file__).parent / "nothing", stdin=text, stdin_filename="random.py"))


# Random programs


@given(programs)
@settings(unhurried, max_examples=60)
def test_no_program_makes_it_raise_and_two_scans_agree(text: str) -> None:
    first = scan_text(text)
    assert first.failures == ()
    assert scan_text(text).findings == first.findings


def grammatical(text: str) -> bool:
    """Whether Python compiles it; the grammar does not know that `return` belongs in a function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "random.py", "exec")
        except (SyntaxError, ValueError, MemoryError):
            return False
    return True


@given(hypothesmith.from_grammar())
@settings(unhurried, max_examples=40)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_nothing_that_the_grammar_allows_makes_it_raise(text: str) -> None:
    assume(grammatical(text))
    report = scan_text(f"import torch\n{text}")
    assert [finding for finding in report.findings if finding.code != "ND001"] == []


CASES = [case for case in read_cases("findings") if not case.files]


@given(st.sampled_from(CASES), st.data())
@settings(unhurried, max_examples=60)
def test_half_a_program_is_no_problem(case: object, data: st.DataObject) -> None:
    """What an editor sends while its user types."""
    script = HEADER + case.script
    end = data.draw(st.integers(0, len(script)))
    report = scan_text(script[:end])
    if grammatical(script[:end]):
        assert report.failures == ()
    else:
        assert [failure.code for failure in report.failures] == ["ND001"] * bool(report.failures)


@given(st.sampled_from(CASES), st.sampled_from(CASES))
@settings(unhurried, max_examples=60)
def test_what_stands_in_another_file_changes_nothing(first: object, second: object) -> None:
    alone = scan_text(HEADER + first.script).findings
    others = f"def never():\n    if unknown:\n        return\nclass Never:\n    text = {second.script!r}\n"
    assert scan_text(HEADER + first.script + others).findings == alone


# Programs that others wrote


def installed(package: str, pattern: str, every: int) -> list[Path]:
    """Each so-manieth file of a package, or of the standard library where `os` stands."""
    spec = importlib.util.find_spec(package)
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path("nowhere")
    return sorted(folder.glob(pattern))[::every]


FOREIGN = [
    *installed("os", "*.py", 9),
    *installed("asyncio", "*.py", 6),
    *installed("torch", "nn/modules/*.py", 5),
    *installed("torch", "optim/*.py", 4),
    *installed("torch", "utils/data/*.py", 3),
    *installed("libcst", "_nodes/*.py", 4),
]


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_that_is_installed_makes_it_raise(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    first = scan_text(f"import torch\n{text}")
    assert [failure for failure in first.failures if failure.code is None] == []
    assert scan_text(f"import torch\n{text}").findings == first.findings


# Programs that tests/benchmarks/fuzz.py found, made small

FOUND = {
    "an optimizer of what a constant's method gives": "optim.Adam(b''.len(), lr=2e-3)",
    "a loss of what a constant's method gives": "loss = torch.tensor(''.len(), requires_grad=True)\nloss.backward()",
    "a loop over what a constant's method gives": "for lr in ''.len():\n    optim.SGD(net.parameters(), lr=lr)",
    "a function of a tensor without one": (
        "x = torch.relu()\nF.cross_entropy(torch.tanh(), y)\nnn.Linear(3, 3)(x.squeeze())\n"
        "loss = torch.div(F.relu()) + x.mul().sum()\nloss.backward()\nloss = torch.add(x)\nloss.backward()"
    ),
    "a function of torch called super": "from torch import super\nsuper().__init__()",
}


@pytest.mark.parametrize("script", FOUND.values(), ids=FOUND)
def test_what_fuzzing_found_raises_no_more(script: str, tmp_path: Path) -> None:
    report = scan_files(tmp_path, {MAIN: f"import torch\n{HEADER}{script}\n"}, pedantic=True)
    assert report.failures == ()


# Programs that go in circles

CIRCLES = {
    "recursion": "def f(x): return f(x)\nf(1)",
    "recursion with growing arguments": "def f(x): return f((x, x))\nf(1)",
    "recursion with counting": "def f(n): return n * f(n - 1) if n else 1\nf(1000)",
    "mutual recursion": "def f(x): return g(x)\ndef g(x): return h(x)\ndef h(x): return f(x)\nf(1)",
    "recursion by two": "def f(x): return f(x - 1) + f(x - 2)\nf(100)",
    "recursion through a method": "class A:\n    def f(self): return A().f()\nA().f()",
    "recursion in a constructor": "class A:\n    def __init__(self): self.a = A()\nA()",
    "recursion through a property": "class A:\n    @property\n    def x(self): return self.x\nA().x",
    "recursion through getattr": "class A:\n    def __getattr__(self, name): return getattr(self, name)\nA().x",
    "recursion through a module": "class A(nn.Module):\n    def forward(self, x): return self(x)\nA()(x)",
    "recursion through a lambda": "f = lambda x: f(x)\nf(1)",
    "the Y combinator": "(lambda f: f(f))(lambda f: f(f))",
    "a generator in itself": "def f(): yield from f()\nfor x in f(): pass",
    "generators in circles": "def f(): yield from g()\ndef g(): yield from f()\nfor x in f():\n    for y in g(): pass",
    "a context manager in itself": (
        "from contextlib import contextmanager\n@contextmanager\ndef f():\n    with f(): yield\nwith f(): pass"
    ),
    "a decorator that decorates itself": "@f\ndef f(g): return f(g)\n@f\ndef h(): return h()\nh()",
    "a class that inherits from itself": "class A(A): pass\nA().f()",
    "a class that inherits from itself by another name": "class A: pass\nB = A\nclass A(B, A): pass\nA()",
    "classes that cannot be put in order": (
        "class A: pass\nclass B: pass\nclass C(A, B): pass\nclass D(B, A): pass\nclass E(C, D): pass\nE().f()"
    ),
    "a class that is its own attribute": "class A: pass\nA.A = A\nA.A.A.A()",
    "an object that holds itself": "class A: pass\na = A(); a.a = a; a.a.a.b = 1\nunknown(a)",
    "a list that holds itself": "x = []; x.append(x); x.append(x)\nfor y in x: y.append(x)\ntorch.cat(x)\nunknown(x)",
    "a dict that holds itself": "x = {}; x['x'] = x\nx['x']['x'].update(x)\nunknown(x)",
    "a tuple that grows": "x = ()\nfor i in items:\n    x = (x, x)\nunknown(x)\nshow(x)",
    "a module that holds itself": "m = nn.Sequential(); m.append(m); m.add_module('m', m)\nm(x)\nm.eval()",
    "modules that hold each other": (
        "class A(nn.Module):\n    def __init__(self, b):\n        super().__init__()\n        self.b = b\n"
        "    def forward(self, x): return self.b(x)\na = A(None); b = A(a); a.b = b\na.train(); a(x)\ncopy.deepcopy(a)"
    ),
    "a closure over itself": "def f():\n    def g(): return (g, f)\n    return g\nf()()()",
    "a default that is the function": "def f(x=None): return x(f)\nf(f)",
    "a partial of itself": "from functools import partial\nf = partial(f)\nf = partial(f, f)\nf(1)",
    "functions that pass each other on": "def f(g, x): return g(f, x)\nf(f, 1)",
    "a scope that changes itself": "def f():\n    global f\n    f = lambda: f()\n    return f()\nf()",
    "a loop that defines what it calls": "for i in items:\n    def f(g=f): return g()\n    f()",
}


@pytest.mark.parametrize("script", CIRCLES.values(), ids=CIRCLES)
def test_circles_end(script: str, tmp_path: Path) -> None:
    text = f"{HEADER}import copy\n{script}\nF.cross_entropy(torch.softmax(x, 1), y)  # <- ND101\n"
    report = scan_files(tmp_path, {MAIN: text})
    assert report.failures == ()
    assert marked_kinds(report) == marks({MAIN: text})


IMPORTS = {
    "a module that imports itself": {"a.py": "import a\nfrom a import x\n"},
    "two that import each other": {"a.py": "from b import x\ny = x\n", "b.py": "from a import y\nx = y\n"},
    "stars in circles": {"a.py": "from b import *\n", "b.py": "from c import *\n", "c.py": "from a import *\n"},
    "a package that imports its own": {
        "p/__init__.py": "from . import *\nfrom .p import p\n",
        "p/p.py": "from . import p\n",
    },
    "relative imports beyond the top": {"a.py": "from .... import x\nfrom ..a import *\n"},
    "a folder and a module of one name": {
        "a.py": "import a.a\n",
        "a/__init__.py": "import a\n",
        "a/a.py": "from . import a\n",
    },
    "an import in each call": {"a.py": "def f():\n    import a\n    return a.f()\nf()\n"},
}


@pytest.mark.parametrize("files", IMPORTS.values(), ids=IMPORTS)
def test_imports_in_circles_end(files: dict[str, str], tmp_path: Path) -> None:
    texts = {name: f"import torch\n{text}" for name, text in files.items()}
    texts[MAIN] = "import torch\nfrom a import *\nimport a, p\n" + "torch.nn.BatchNorm1d(3, 0.9)  # <- ND405\n"
    report = scan_files(tmp_path, texts)
    assert report.failures == ()
    assert marked_kinds(report) == marks(texts)


# Programs that are large


def nested(opening: str, depth: int, inside: str) -> str:
    """Compound statements one in another."""
    lines = [f"{'    ' * level}{opening.format(level)}" for level in range(depth)]
    return "\n".join([*lines, f"{'    ' * depth}{inside}", ""])


MARKED = "torch.nn.BatchNorm1d(3, 0.9)  # <- ND405\n"
LARGE = {
    "20,000 lines": "x = torch.relu(x)\n" * 20_000,
    "20,000 different branches": "".join(f"if flag{i}: x = {i}\n" for i in range(10_000)),
    "a function called 5,000 times": "def f(x): return torch.relu(x)\n" + "x = f(x)\n" * 5_000,
    "5,000 functions that call each other": "".join(f"def f{i}(x): return f{i + 1}(x)\n" for i in range(5_000))
    + "f0(1)\n",
    "1,000 functions that call the next twice": (
        "".join(f"def f{i}(x): return f{i + 1}(f{i + 1}(x))\n" for i in range(1_000)) + "f0(x)\n"
    ),
    "1,000 methods that change what the next reads": (
        "class A:\n"
        + "".join(
            f"    def f{i}(self):\n        self.a{i} = self.a{i + 1}\n        self.f{i + 1}()\n" for i in range(1_000)
        )
        + "A().f0()\n"
    ),
    "3,000 classes, each of the last": "class C0: pass\n"
    + "".join(f"class C{i + 1}(C{i}): pass\n" for i in range(3_000)),
    "500 layers": f"net = nn.Sequential({', '.join(['nn.Linear(3, 3)'] * 500)})\nnet(x)\nnet.eval()\nnet(x)\n",
    "Sequentials of two Sequentials, 40 deep": "net = nn.Linear(3, 3)\n"
    + "net = nn.Sequential(net, net)\n" * 40
    + "net(x)\nnet.eval()\nnet(x)\n",
    "200 optimizers": (
        "".join(
            f"m{i} = nn.Sequential(nn.Linear(3, 3)); o{i} = optim.SGD(m{i}.parameters(), lr=1)\n" for i in range(200)
        )
        + "for x in items:\n"
        + "".join(f"    o{i}.zero_grad()\n    m{i}(x).sum().backward()\n    o{i}.step()\n" for i in range(200))
    ),
    "a sum of 160 losses": "loss = " + " + ".join(["F.mse_loss(x, y)"] * 160) + "\nloss.backward()\n",
    "a loss that grows in 3,000 steps": "loss = 0\n" + "loss = loss + F.mse_loss(x, y)\n" * 3_000 + "loss.backward()\n",
    "a value doubled 100 times": "x = (1, 2)\n" + "x = (x, x)\n" * 100 + "show(x)\nunknown(x)\n",
    "a list doubled 100 times": "x = [1]\n" + "x = x + x\n" * 100 + "show(x)\n",
    "branches that double the alternatives": "x = ()\n"
    + "".join(f"x = (x, {i}) if f{i} else (x, x)\n" for i in range(60))
    + "show(x)\n",
    "a huge list": f"x = [{', '.join(map(str, range(50_000)))}]\nfor i in x: show(i)\n",
    "a huge dict": f"x = {{{', '.join(f'{i}: {i}' for i in range(20_000))}}}\nfor k, v in x.items(): show(v)\n",
    "a huge string": f"x = '{'a' * 1_000_000}'\nshow(x + x)\n",
    "huge numbers": f"x = {'9' * 5_000}\nshow(x * x)\nshow(9 ** 9 ** 9 ** 9)\nshow(1 << 10 ** 10)\n",
    "huge multiples": "show('a' * 10 ** 10)\nshow([0] * 10 ** 10)\nshow((0,) * 10 ** 10)\n",
    "deep brackets": f"x = {'(' * 90}x{')' * 90}\nx = {'[' * 90}x{']' * 90}\n",
    "long chains": f"x = {'-' * 90}x\nx = x{'.relu()' * 240}\nx = x{' + x' * 450}\n",
    "deep ifs": nested("if x{}:", 80, "pass"),
    "deep loops": nested("for x{} in items:", 18, "show(1)"),
    "deep loops of known items": nested("for x{} in (1, 2, 3):", 18, "show(1)"),
    "deep whiles that count": nested("while n{}:", 18, "n0 += 1"),
    "deep withs": nested("with torch.no_grad():", 80, "pass"),
    "deep tries": nested("try:", 0, "pass") + "try: pass\nexcept E:\n" + nested("    if x{}:", 20, "    pass"),
    "deep functions": nested("def f{}():", 60, "return 1") + "f0()\n",
    "deep classes": nested("class C{}:", 60, "x = 1"),
    "deep lambdas": f"f = {'lambda: ' * 90}1\nf{'()' * 90}\n",
    "deep comprehensions": f"x = {'[' * 30}1{' for i in x]' * 30}\n",
    "long comprehensions": f"x = [1 {' '.join(f'for x{i} in (1, 2, 3)' for i in range(20))}]\n",
    "2,000 alternatives of elif": "if a: pass\n"
    + "".join(f"elif a == {i}: x = {i}\n" for i in range(490))
    + "show(x)\n",
    "3,000 early returns": "def f(x):\n"
    + "".join(f"    if x == {i}: return {i}\n" for i in range(3_000))
    + "show(f(x))\n",
    "a hundred attributes deep": f"x = a{'.b' * 95}\na{'.b' * 95} = 1\n",
}


@pytest.mark.parametrize("script", LARGE.values(), ids=LARGE)
def test_large_programs_are_read_to_the_end_in_bounded_time(script: str, tmp_path: Path) -> None:
    text = f"{MARKED}{HEADER}{script}"
    before = sys.getrecursionlimit()
    report = scan_files(tmp_path, {MAIN: "import torch\n" + text})
    assert report.failures == ()
    assert marked_kinds(report) == marks({MAIN: "import torch\n" + text})
    assert sys.getrecursionlimit() == before


def test_what_follows_a_large_program_in_another_file_is_examined(tmp_path: Path) -> None:
    """What one file costs is not taken from the next."""
    large = "import torch\n" + nested("for x{} in (1, 2, 3):", 18, "torch.relu(1)")
    files = {"a.py": large, "b.py": f"import torch\n{MARKED}"}
    assert marked_kinds(scan_files(tmp_path, files)) == marks(files)
