"""Which modules an optimizer is found to train, however their parameters are put together."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import only, run

from nndoctor.scan.values import Instance

NETWORKS = """
class A(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
class B(A): pass
class C(A): pass
a, b, c = A(), B(), C()
"""

WAYS = {
    "lists added up": "optim.SGD(list(a.parameters()) + list(b.parameters()) + list(c.parameters()))",
    "a list of several unpacked ones": "optim.SGD([*a.parameters(), *b.parameters(), *c.parameters()])",
    "a list that grows": "p = [*a.parameters()]\np += list(b.parameters())\np.extend(c.parameters())\noptim.SGD(p)",
    "an empty list that grows": "p = []\nfor m in (a, b, c): p += list(m.parameters())\noptim.SGD(p)",
    "a nested comprehension": "optim.SGD([p for m in (a, b, c) for p in m.parameters() if p.requires_grad])",
    "groups": "optim.SGD([{'params': m.parameters(), 'lr': 0.1} for m in (a, b, c)])",
    "a chain": "import itertools\noptim.SGD(itertools.chain(a.parameters(), b.parameters(), c.parameters()))",
    "a module list": "optim.SGD(nn.ModuleList([a, b, c]).parameters())",
}


@pytest.mark.parametrize("way", WAYS)
def test_an_optimizer_trains_every_network_it_is_given(way: str, tmp_path: Path) -> None:
    trained = only(run(tmp_path, NETWORKS + WAYS[way]), "optimizer").details["trained"]
    assert {name for owner in trained for name in classes_in(owner)} == {"A", "B", "C"}


def classes_in(owner: object) -> set[str]:
    if isinstance(owner, Instance):
        return {owner.cls.name}
    return {item.cls.name for item in owner.attrs["$items"]}  # type: ignore[attr-defined]


def test_what_is_trained_is_unknown_where_the_parameters_are(tmp_path: Path) -> None:
    made = only(run(tmp_path, "import settings\noptim.SGD(settings.parameters)"), "optimizer")
    assert made.details["trained"] is None
