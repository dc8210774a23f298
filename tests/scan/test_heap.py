"""Branches, loops and objects: what a name, an attribute or an item can be after them."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import program_text, run, shown

from nndoctor.scan.values import State

Case = tuple[str, list[set[object]]]

# Names that no script defines (`flag`, `items`) are unknown values.
BRANCHES: dict[str, Case] = {
    "set on one side": ("x = 1\nif flag: x = 2\nshow(x)", [{1, 2}]),
    "set on both sides": ("if flag: x = 1\nelse: x = 2\nshow(x)", [{1, 2}]),
    "set to the same on both sides": ("if flag: x = 1\nelse: x = 1\nshow(x)", [{1}]),
    "elif": ("if a: x = 1\nelif b: x = 2\nelse: x = 3\nshow(x)", [{1, 2, 3}]),
    "three flags": ("x = 0\nif a: x = 1\nif b: x = 2\nif c: x = 3\nshow(x)", [{0, 1, 2, 3}]),
    "a known condition": ("if 2 > 1: x = 1\nelse: x = 2\nshow(x)", [{1}]),
    "conditional expression": ("x = 1 if flag else 2\nshow(x)", [{1, 2}]),
    "what one side does is not seen by the other": ("x = 1\nif flag: x = 2\nelse: show(x)", [{1}]),
    "two values that change together": (
        "if flag: x = (1, 1)\nelse: x = (1, 2)\na, b = x\nshow(a); show(b)",
        [{1}, {1, 2}],
    ),
    "match": ("match value:\n    case 1: x = 1\n    case _: x = 2\nshow(x)", [{1, 2}]),
    "the other side raises": ("x = 1\nif flag:\n    x = 2\n    raise ValueError\nshow(x)", [{1}]),
    "try may stop anywhere": ("x = 1\ntry: x = 2\nexcept E: x = 3\nshow(x)", [{2, 3}]),
    "finally runs always": ("try: x = 1\nfinally: x = 2\nshow(x)", [{2}]),
    "else of a try": ("try: pass\nexcept E: x = 1\nelse: x = 2\nshow(x)", [{1, 2}]),
    "None is told from a value": ("x = None\nif x is None: x = 1\nshow(x)", [{1}]),
    "walrus": ("if (x := 3) > 2: show(x)", [{3}]),
}

GUARDS: dict[str, Case] = {
    "the same flag": ("x = None\nif flag: x = 1\nif flag: show(x)\nif not flag: show(x)", [{1}, {None}]),
    "the same test": (
        'if mode == "a": x = 1\nelse: x = 2\nif mode == "a": show(x)\nif mode != "a": show(x)',
        [{1}, {2}],
    ),
    "an attribute": ("if args.flag: x = 1\nelse: x = 2\nif args.flag: show(x)", [{1}]),
    "both of two flags": ("if a and b: x = 1\nelse: x = 2\nif a and b: show(x)\nshow(x)", [{1}, {1, 2}]),
    "the first of an elif": ("if a: x = 1\nelif b: x = 2\nelse: x = 3\nif a: show(x)\nif b: show(x)", [{1}, {1, 2}]),
    "the flag was turned over": ("if flag: x = 1\nelse: x = 2\nflag = not flag\nif flag: show(x)", [{2}]),
    "the flag is another one by now": ("if flag: x = 1\nelse: x = 2\nflag = ask()\nif flag: show(x)", [{1, 2}]),
    "chance": (
        "import random\nif random.random() > 0.5: x = 1\nelse: x = 2\nif random.random() > 0.5: show(x)",
        [{1, 2}],
    ),
    "an early return tells the rest": (
        "def f(flag):\n    if flag: return\n    if flag: show(1)\n    if not flag: show(2)\nf(unknown)",
        [{2}],
    ),
    "isinstance": (
        "def f(x):\n    if isinstance(x, tuple): y = 1\n    else: y = 2\n    if isinstance(x, tuple): show(y)",
        [{1}],
    ),
    "in a called function": (
        "def f(flag):\n    if flag: show(x)\nif flag: x = 1\nelse: x = 2\nf(flag)",
        [{1}],
    ),
}

EXITS: dict[str, Case] = {
    "early return": (
        "def f(flag):\n    x = 1\n    if flag: return x\n    x = 2\n    return x\nshow(f(unknown))",
        [{1, 2}],
    ),
    "early return of a known flag": (
        "def f(flag):\n    if flag: return 1\n    return 2\nshow(f(True)); show(f(False))",
        [{1}, {2}],
    ),
    "early return leaves an attribute": (
        "class A: pass\na = A()\ndef f(flag):\n    a.x = 1\n    if flag: return\n    a.x = 2\nf(unknown)\nshow(a.x)",
        [{1, 2}],
    ),
    "return in a with in a loop": (
        "def f():\n    for i in items:\n        with thing():\n            if i: return 1\n    return 2\nshow(f())",
        [{1, 2}],
    ),
    "return in a try": ("def f():\n    try: return 1\n    except E: return 2\nshow(f())", [{1, 2}]),
    "no return at all": ("def f(): pass\nshow(f())", [{None}]),
    "falling off the end on one path": ("def f(flag):\n    if flag: return 1\nshow(f(unknown))", [{1, None}]),
    "continue": ("x = 1\nfor i in items:\n    if i: continue\n    x = 2\nshow(x)", [{1, 2}]),
    "break": ('for i in items:\n    if i:\n        x = "c"\n        break\n    x = "b"\nshow(x)', [{"b", "c"}]),
    "break and continue in nested loops": (
        'x = "a"\nfor i in a:\n    for j in b:\n        if j: continue\n        x = "b"\n'
        '    if i: break\n    x = "c"\nshow(x)',
        [{"a", "b", "c"}],
    ),
    "continue in an except": (
        "x = 1\nfor i in items:\n    try: step()\n    except E: continue\n    x = 2\nshow(x)",
        [{1, 2}],
    ),
}

LOOPS: dict[str, Case] = {
    "the second time sees the first": ('x = "no"\nfor i in items:\n    show(x)\n    x = "yes"', [{"no"}, {"yes"}]),
    "a counter is unknown from the second time on": (
        "n = 0\nfor i in items:\n    show(n)\n    n += 1",
        [{0}, {"counter"}],
    ),
    "a counter is unknown afterwards": ("n = 0\nfor i in items: n += 1\nshow(n == 2)", [{"Equal"}]),
    "few known items one by one": ("for i in (1, 2, 3): show(i)", [{1}, {2}, {3}]),
    "a known list one by one": ("for i in [1, 2]: show(i)", [{1}, {2}]),
    "nothing to iterate": ("x = 1\nfor i in []: x = 2\nshow(x)", [{1}]),
    "enumerate and zip": (
        "for i, (a, b) in enumerate(zip((1, 2), (3, 4))): show((i, a, b))",
        [{(0, 1, 3)}, {(1, 2, 4)}],
    ),
    "a dict": ('for k, v in {"a": 1}.items(): show((k, v))', [{("a", 1)}]),
    "else of a loop": ("for i in items:\n    if i: break\nelse: show(1)", [{1}]),
    "while": ("while flag: show(1)", [{1}]),
    "while False": ("while False: show(1)", []),
    "while True ends by break": ('x = "no"\nwhile True:\n    x = "yes"\n    if flag: break\nshow(x)', [{"yes"}]),
    "a flag of the loop's own": (
        'first = True\nfor i in items:\n    if first: x = "a"\n    else: x = "b"\n    show(x)\n    first = False',
        [{"a"}, {"b"}],
    ),
}

OBJECTS: dict[str, Case] = {
    "an attribute set on one side": (
        "class A: pass\na = A(); a.x = 1\nif flag: a.x = 2\nshow(a.x)\nif flag: show(a.x)",
        [{1, 2}, {2}],
    ),
    "an attribute of the class shadowed on one side": (
        "class A: x = 1\na = A()\nif flag: a.x = 2\nshow(a.x)",
        [{1, 2}],
    ),
    "an object replaced on one side": (
        "class A: pass\na = A(); a.b = A(); a.b.x = 1\nif flag:\n    a.b = A()\n    a.b.x = 2\nshow(a.b.x)",
        [{1, 2}],
    ),
    "the state of an object that both sides reach": (
        "class A: pass\na = b = A(); a.x = 1\nif flag: a.x = 2\nshow(b.x)",
        [{1, 2}],
    ),
    "made on one side and changed there": (
        "class A: pass\na = None\nif flag:\n    a = A()\n    a.x = 1\n    a.x = 2\nif flag: show(a.x)",
        [{2}],
    ),
    "a list appended to on one side": ("x = [1]\nif flag: x.append(2)\nshow(x[0])\nif flag: show(x[1])", [{1}, {2}]),
    "a list appended to on both sides": ("x = []\nif flag: x.append(1)\nelse: x.append(2)\nshow(x[0])", [{1, 2}]),
    "a list made on one side": ("x = None\nif flag:\n    x = []\n    x.append(1)\nif flag: show(tuple(x))", [{(1,)}]),
    "a dict changed on one side": ('x = {"a": 1}\nif flag: x["a"] = 2\nshow(x["a"])', [{1, 2}]),
    "two names of one list": ("x = [1]; y = x\ny.append(2)\nshow(tuple(x))", [{(1, 2)}]),
    "a copy of a list": ("x = [1]; y = x.copy()\ny.append(2)\nshow(tuple(x)); show(tuple(y))", [{(1,)}, {(1, 2)}]),
    "a slice of a list": ("x = [1]; y = x[:]\ny.append(2)\nshow(tuple(x))", [{(1,)}]),
    "a copy of a dict": ('x = {"a": 1}; y = x.copy()\ny["a"] = 2\nshow(x["a"])', [{1}]),
    "a shallow copy of an object": (
        "import copy\nclass A: x = 1\na = A(); b = copy.copy(a)\nb.x = 2\nshow(a.x); show(b.x)",
        [{1}, {2}],
    ),
    "a deep copy of an object": (
        "import copy\nclass A: x = 1\na = A(); b = copy.deepcopy(a)\nb.x = 2\nshow(a.x); show(b.x)",
        [{1}, {2}],
    ),
    "a call that changes what it is given": ("def f(x): x.append(1)\nx = []\nf(x); f(x)\nshow(tuple(x))", [{(1, 1)}]),
    "a call is run again when what it reads has changed": (
        "class A: x = 1\na = A()\ndef f(): return a.x\nshow(f())\na.x = 2\nshow(f())",
        [{1}, {2}],
    ),
    "a call is run again when a global has changed": (
        "x = 1\ndef f(): return x\nshow(f())\nx = 2\nshow(f())",
        [{1}, {2}],
    ),
    "a call is run again under another flag": (
        "def f():\n    return 1 if flag else 2\nif flag: show(f())\nelse: show(f())\nshow(f())",
        [{1}, {2}, {1, 2}],
    ),
    "global": ("x = 1\ndef f():\n    global x\n    x = 2\nf()\nshow(x)", [{2}]),
    "global on one path": ("x = 1\ndef f():\n    global x\n    if flag: x = 2\nf()\nshow(x)", [{1, 2}]),
    "nonlocal": (
        "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n    g()\n    show(x)\nf()",
        [{2}],
    ),
    "a mutable default": (
        "def f(x=[]):\n    x.append(1)\n    return tuple(x)\nshow(f()); show(f())",
        [{(1,)}, {(1, 1)}],
    ),
    "a list of the class": ("class A:\n    x = []\nA().x.append(1)\nshow(tuple(A.x))", [{(1,)}]),
}

LISTS: dict[str, Case] = {
    "pop": ("x = [1, 2]\nshow(x.pop()); show(tuple(x))", [{2}, {(1,)}]),
    "pop the first": ("x = [1, 2]\nshow(x.pop(0)); show(tuple(x))", [{1}, {(2,)}]),
    "del": ("x = [1, 2]\ndel x[0]\nshow(tuple(x))", [{(2,)}]),
    "insert in the middle": ("x = [1, 2]\nx.insert(1, 3)\nshow(tuple(x))", [{(1, 3, 2)}]),
    "insert before the last": ("x = [1, 2]\nx.insert(-1, 3)\nshow(tuple(x))", [{(1, 3, 2)}]),
    "insert at the front": ("x = [1, 2]\nx.insert(0, 3)\nshow(tuple(x))", [{(3, 1, 2)}]),
    "reverse": ("x = [1, 2]\nx.reverse()\nshow(tuple(x))", [{(2, 1)}]),
    "extend": ("x = [1]\nx.extend((2, 3))\nshow(tuple(x))", [{(1, 2, 3)}]),
    "clear": ("x = [1]\nx.clear()\nshow(tuple(x))", [{()}]),
    "add in place": ("x = [1]; y = x\nx += [2]\nshow(tuple(y))", [{(1, 2)}]),
    "an item replaced": ("x = [1, 2]\nx[-1] = 3\nshow(tuple(x))", [{(1, 3)}]),
    "an item replaced somewhere": ("x = [1, 2]\nx[i] = 3\nshow(x[0])", [{1, 3}]),
    "sums and multiples": ("show([1] + [2]); show([1] * 3); show((1,) + (2,))", [{(1, 2)}, {(1, 1, 1)}, {(1, 2)}]),
    "slices": ("x = [1, 2, 3, 4]\nshow(x[1:]); show(x[-1]); show(x[:-2])", [{(2, 3, 4)}, {4}, {(1, 2)}]),
    "unpacking": ("a, (b, *c) = 1, (2, 3, 4)\nshow((a, b)); show(c)", [{(1, 2)}, {(3, 4)}]),
    "unpacking into a call": ("def f(a, b): return (a, b)\nx = [1, 2]\nshow(f(*x))", [{(1, 2)}]),
    "comprehension": ("show([i + 1 for i in (1, 2)])", [{(2, 3)}]),
    "nested comprehension": (
        "show(tuple([(i, j) for i in (1, 2) for j in (3, 4)]))",
        [{((1, 3), (1, 4), (2, 3), (2, 4))}],
    ),
}

DICTS: dict[str, Case] = {
    "update by keywords": ('x = {"a": 1}\nx.update(a=2)\nshow(x["a"])', [{2}]),
    "update by a dict": ('x = {"a": 1}\nx.update({"a": 2})\nshow(x["a"])', [{2}]),
    "get of what is not there": ('x = {"a": 1}\nshow(x.get("b", 2)); show(x.get("b"))', [{2}, {None}]),
    "setdefault": ('x = {}\nshow(x.setdefault("a", 1)); show(x["a"])', [{1}, {1}]),
    "pop a key": ('x = {"a": 1}\nshow(x.pop("a")); show(x.get("a", 2))', [{1}, {2}]),
    "del a key": ('x = {"a": 1}\ndel x["a"]\nshow(x.get("a", 2))', [{2}]),
    "an unknown key written": ('x = {"a": 1}\nx[key] = 2\nshow(x["a"])', [{1, 2}]),
    "unpacked into another": ('x = {"a": 1, **{"b": 2}}\nshow(x["b"])', [{2}]),
    "keywords": ('def f(**kw): return kw.get("a", 2)\nshow(f(a=1)); show(f())', [{1}, {2}]),
    "dict comprehension": ('x = {k: 1 for k in ("a", "b")}\nshow(x["a"])', [{1}]),
}


def cases(*tables: dict[str, Case]) -> list[object]:
    return [pytest.param(*case, id=name) for table in tables for name, case in table.items()]


@pytest.mark.parametrize(("script", "expected"), cases(BRANCHES, GUARDS, EXITS, LOOPS, OBJECTS, LISTS, DICTS))
def test_what_a_value_can_be(script: str, expected: list[set[object]], tmp_path: Path) -> None:
    assert shown(tmp_path, script) == expected


@pytest.mark.parametrize(("script", "expected"), cases(BRANCHES, GUARDS, OBJECTS, LISTS, DICTS))
def test_it_is_the_same_in_a_branch_that_is_undone_and_joined(
    script: str, expected: list[set[object]], tmp_path: Path
) -> None:
    indented = "\n".join(f"    {line}" for line in script.splitlines())
    assert shown(tmp_path, f"if outer:\n{indented}\nelse:\n    pass\n") == expected


def test_a_value_of_too_many_alternatives_is_unknown(tmp_path: Path) -> None:
    flags = "".join(f"if flag{i}: x = {i}\n" for i in range(12))
    [alternatives] = shown(tmp_path, f"x = -1\n{flags}show(x)\n")
    assert "joined" in alternatives
    assert len(alternatives) < 12


def test_paths_that_left_meet_again_with_their_own_state(tmp_path: Path) -> None:
    """The optimizer was stepped on one path only, so its gradients are joined, not certain."""
    program = run(
        tmp_path,
        """
        model = nn.Linear(3, 3)
        opt = optim.SGD(model.parameters(), lr=0.1)
        def train(flag):
            opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            if flag:
                return
            opt.step()
        train(unknown)
        opt.step()
        """,
    )
    last = list(program.of("step"))[-1]
    found = {state.name for state in last.options(last.details["grads"]) if type(state) is State}
    assert found == {"fresh", "spent"}


def test_the_header_of_the_programs_is_one_line() -> None:
    assert program_text("x = 1").count("\n") == 1
