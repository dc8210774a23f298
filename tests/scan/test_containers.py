"""What containers hold after each change of them, what copies share, and how Python's own functions pass values on."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import shown

Case = tuple[str, list[set[object]]]  # a script that calls `show`, and for each call everything that the value could be

SEQUENCES: dict[str, Case] = {
    "pop in a called function": (
        "def f(x): x.pop(0)\nx = [1, 2, 3]\nf(x); f(x)\nshow(tuple(x))",
        [{(3,)}],
    ),
    "pop in a branch": ("x = [1, 2]\nif flag: x.pop()\nshow(x[-1]); show(x[0])", [{1, 2}, {1}]),
    "pop in a loop of unknown length": (
        "x = [1, 2, 3]\nfor i in items: x.pop()\nshow(x[0])",
        [{1, 2}],
    ),
    "pop of a list that the loop itself makes": (
        "for i in items:\n    x = [1, 2, 3]\n    x.pop()\nshow(tuple(x))",
        [{(1, 2)}],
    ),
    "a deleted slice": ("x = [1, 2, 3]\ndel x[1:]\nshow(tuple(x))", [{(1,)}]),
    "a slice replaced": ("x = [1, 2, 3]\nx[1:] = [4]\nshow(tuple(x))", [{(1, 4)}]),
    "all replaced": ("x = [1, 2]\nx[:] = [3]\nshow(tuple(x))", [{(3,)}]),
    "sorted": ("x = [3, 1, 2]\nshow(sorted(x)); show(sorted(x, reverse=True))", [{(1, 2, 3)}, {(3, 2, 1)}]),
    "sorting leaves the source alone": ("x = [2, 1]\ny = sorted(x)\nshow(tuple(x))", [{(2, 1)}]),
    "sorting by an unknown key": ("x = [2, 1]\nx.sort(key=f)\nshow(x[0])", [{1, 2}]),
    "a set": ("x = {1, 2}\nx.add(1)\nshow(x); show(len(set([1, 2, 1])))", [{(1, 2)}, {2}]),
    "an unknown index": ("show([1, 2][i])", [{1, 2}]),
    "objects that are alike stand for each other": (
        "show([nn.Linear(1, 2), nn.Linear(2, 3)][i])",
        [{"Linear"}],
    ),
    "objects that are not": ("show([nn.Linear(1, 2), nn.ReLU()][i])", [{"Linear", "ReLU"}]),
}

MODULES: dict[str, Case] = {
    "a layer replaced": (
        "m = nn.Sequential(nn.Linear(1, 2), nn.Softmax())\nm[1] = nn.ReLU()\nshow(m[-1])",
        [{"ReLU"}],
    ),
    "a layer removed": (
        "m = nn.Sequential(nn.Linear(1, 2), nn.Softmax())\nm.pop(-1)\nshow(m[-1])",
        [{"Linear"}],
    ),
    "a layer deleted": (
        "m = nn.Sequential(nn.Linear(1, 2), nn.Softmax())\ndel m[-1]\nshow(m[-1])",
        [{"Linear"}],
    ),
    "a layer put before the head": (
        "m = nn.ModuleList([nn.ReLU(), nn.Linear(1, 2)])\nm.insert(-1, nn.Tanh())\nshow(m[1]); show(m[2])",
        [{"Tanh"}, {"Linear"}],
    ),
    "an item of a class of its own": (
        "class N(nn.Sequential):\n    def __init__(self): super().__init__(nn.Linear(1, 2), nn.ReLU())\nshow(N()[1])",
        [{"ReLU"}],
    ),
}

TABLES: dict[str, Case] = {
    "update by something unknown": ('x = {"a": 1}\nx.update(other)\nshow(x["a"])', [{1, "item"}]),
    "update by pairs": ('x = dict([("a", 1)], b=2)\nshow((x["a"], x["b"]))', [{(1, 2)}]),
    "union": ('x = {"a": 1} | {"a": 2}\nshow(x["a"])', [{2}]),
    "union in place": ('x = {"a": 1}; y = x\nx |= {"a": 2}\nshow(y["a"])', [{2}]),
    "something unknown unpacked over a key": ('x = {"a": 1, **other}\nshow(x["a"])', [{1, "item"}]),
    "a key unpacked over something unknown": ('x = {**other, "a": 1}\nshow(x["a"])', [{1}]),
    "keys, values and items": (
        'x = {"a": 1}\nshow(list(x)); show(list(x.values())); show(list(x.items()))',
        [{("a",)}, {(1,)}, {(("a", 1),)}],
    ),
    "nested": ('x = {"a": {"b": 1}}\nx["a"]["b"] = 2\nshow(x["a"]["b"])', [{2}]),
}

COPIES: dict[str, Case] = {
    "a copied list": ("x = [1]; y = x.copy()\ny.append(2)\nshow(tuple(x))", [{(1,)}]),
    "a copied dict": ('x = {"a": 1}; y = x.copy()\ny["a"] = 2\nshow(x["a"]); show(y["a"])', [{1}, {2}]),
    "a list made of a list": ("x = [1]; y = list(x)\ny.append(2)\nshow(tuple(x))", [{(1,)}]),
    "a dict made of a dict": ('x = {"a": 1}; y = dict(x)\ny["a"] = 2\nshow(x["a"])', [{1}]),
    "a shallow copy shares what it holds": (
        "import copy\nx = [[1]]; y = copy.copy(x)\ny[0].append(2)\ny.append(3)\nshow(tuple(x))",
        [{((1, 2),)}],
    ),
    "a deep copy shares nothing": (
        "import copy\nx = [[1]]; y = copy.deepcopy(x)\ny[0].append(2)\nshow(tuple(x))",
        [{((1,),)}],
    ),
    "a deep copy of layers": (
        "import copy\nx = nn.Sequential(nn.Linear(1, 2)); y = copy.deepcopy(x)\ny.append(nn.ReLU())\n"
        "show(x[-1]); show(y[-1]); show(y[0])",
        [{"Linear"}, {"ReLU"}, {"Linear"}],
    ),
    "a factory makes another object each time": (
        "def make(): return [1]\nx = make(); y = make()\ny.append(2)\nshow(tuple(x))",
        [{(1,)}],
    ),
    "a call that reads a list is not remembered past a change": (
        "def f(x): return tuple(x)\nx = [1]\nshow(f(x))\nx.append(2)\nshow(f(x))",
        [{(1,)}, {(1, 2)}],
    ),
}

CLASSES: dict[str, Case] = {
    "the order of a diamond": (
        "class R:\n    def f(self): return 0\n"
        "class A(R):\n    def f(self): return (1, super().f())\n"
        "class B(R):\n    def f(self): return (2, super().f())\n"
        "class C(A, B):\n    def f(self): return (3, super().f())\n"
        "show(C().f())",
        [{(3, (1, (2, 0)))}],
    ),
    "an attribute that the nearer class overrides": (
        "class R: a = 0\nclass A(R): pass\nclass B(R): a = 1\nclass C(A, B): pass\nshow(C().a)",
        [{1}],
    ),
    "a property that also sets": (
        "class A:\n    @property\n    def x(self): return self._x\n    @x.setter\n    def x(self, v): self._x = v + 1\n"
        "a = A()\na.x = 1\nshow(a.x)",
        [{2}],
    ),
    "a setter added to an inherited property": (
        "class A:\n    @property\n    def x(self): return self._x\n"
        "class B(A):\n    @A.x.setter\n    def x(self, v): self._x = v\n"
        "b = B()\nb.x = 1\nshow(b.x)",
        [{1}],
    ),
    "property called": (
        "class A:\n    def get(self): return self._x\n    def put(self, v): self._x = v\n    x = property(get, put)\n"
        "a = A()\na.x = 1\nshow(a.x)",
        [{1}],
    ),
    "a registry of classes": (
        "known = {}\ndef register(cls):\n    known[cls.__name__] = cls\n    return cls\n"
        '@register\nclass A: x = 1\nshow(known["A"].x); show(A.x)',
        [{1}, {1}],
    ),
    "a deleted attribute": ("class A: pass\na = A()\na.x = 1\ndel a.x\nshow(a.x)", [{"attribute"}]),
    "what a dataclass does after its fields are set": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int\n    b: int = 2\n"
        "    def __post_init__(self): self.c = self.a + self.b\n"
        "show(A(1).c); show(A(1, b=4).c)",
        [{3}, {5}],
    ),
    "a field that only the initialisation sees": (
        "from dataclasses import dataclass, InitVar\n@dataclass\nclass A:\n    a: int\n    b: InitVar[int]\n"
        "    def __post_init__(self, b): self.c = self.a + b\n"
        "show(A(1, b=2).c)",
        [{3}],
    ),
}

CALLS: dict[str, Case] = {
    "partial": (
        "from functools import partial\ndef f(a, b, c): return (a, b, c)\ng = partial(partial(f, 1), c=9)\n"
        "show(g(2)); show(g(2, c=3))",
        [{(1, 2, 9)}, {(1, 2, 3)}],
    ),
    "partial of a layer": (
        "from functools import partial\nnorm = partial(nn.BatchNorm2d, eps=1e-3)\nshow(norm(64))",
        [{"BatchNorm2d"}],
    ),
    "int": ('show(int(3.7)); show(int(8 / 2)); show(int("3"))', [{3}, {4}, {3}]),
    "what is no int": ('show(int("three")); show(int(1e400)); show(int(unknown))', [{"number"}] * 3),
    "bool": (
        "show(bool(0)); show(bool([0][0])); show(bool(1.5)); show(bool(x))",
        [{False}, {False}, {True}, {"number"}],
    ),
    "float": ('show(float(2)); show(float("1e-3"))', [{2.0}, {0.001}]),
}


def cases(*tables: dict[str, Case]) -> list[object]:
    return [pytest.param(*case, id=name) for table in tables for name, case in table.items()]


@pytest.mark.parametrize(("script", "expected"), cases(SEQUENCES, MODULES, TABLES, COPIES, CLASSES, CALLS))
def test_what_a_value_can_be(script: str, expected: list[set[object]], tmp_path: Path) -> None:
    assert typed(shown(tmp_path, script)) == typed(expected)


@pytest.mark.parametrize(("script", "expected"), cases(SEQUENCES, MODULES, TABLES, COPIES, CLASSES, CALLS))
def test_it_is_the_same_in_a_function_that_a_branch_calls(
    script: str, expected: list[set[object]], tmp_path: Path
) -> None:
    indented = "\n".join(f"    {line}" for line in script.splitlines())
    text = f"def main():\n{indented}\nif outer: main()\n"
    assert typed(shown(tmp_path, text)) == typed(expected)


def typed(values: list[set[object]]) -> list[set[tuple[type, object]]]:
    """Tells 3 from 3.0 and True from 1."""
    return [{(type(value), value) for value in options} for options in values]
