"""Symbolic shapes: products of sizes, and which views keep the elements in order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nndoctor.scan.shapes import (
    IN_ORDER,
    MIXED,
    Dim,
    Shape,
    atom,
    dimension,
    flattened,
    number,
    order,
    product,
    resolve_view,
)
from nndoctor.scan.values import FALSE, NONE, TRUE, Const, Term

# One term for each name. `s1`, `s2` are sizes that a convolution or a slice left: they may be 1.
TERMS = {name: Term("size" if name.startswith("s") else "dim") for name in ("B", "T", "C", "H", "W", "h", "s1", "s2")}
TERMS["C//h"] = Term("//", (TERMS["C"], TERMS["h"]))


def dim(text: str) -> Dim:
    """`4*h*T` as a dimension."""
    factors = [number(int(part)) if part.isdigit() else atom(TERMS[part]) for part in text.split("*")]
    return product(factors)


def dims(text: str) -> tuple[Dim, ...]:
    """`B 4*h T` as dimensions."""
    return tuple(map(dim, text.split()))


def view(source: str, target: str) -> str | None:
    """The verdict on a view; -1 in the target is computed, None if the two cannot be matched."""
    wanted = [None if part == "-1" else dim(part) for part in target.split()]
    matched = resolve_view(Shape(dims(source)), wanted)
    return None if matched is None else order(*matched)


# The algebra of dimensions

factors = st.sampled_from(["1", "2", "3", "4", "6", "B", "T", "h"])
dimensions = st.lists(factors, min_size=1, max_size=5).map(lambda parts: dim("*".join(parts)))


@given(dimensions, dimensions)
def test_a_product_can_be_divided_again(a: Dim, b: Dim) -> None:
    quotient = a.times(b).over(b)
    assert quotient is not None
    assert quotient.equals(a)


@given(dimensions, dimensions)
def test_a_quotient_times_the_divisor_is_what_was_divided(a: Dim, b: Dim) -> None:
    quotient = a.over(b)
    if quotient is not None:
        assert quotient.times(b).equals(a)
    else:
        assert not a.equals(b)


@given(dimensions, dimensions)
def test_what_is_common_divides_both_and_nothing_is_left_in_common(a: Dim, b: Dim) -> None:
    shared = a.common(b)
    left, right = a.over(shared), b.over(shared)
    assert left is not None
    assert right is not None
    assert left.common(right).is_one


@given(dimensions, dimensions, dimensions)
def test_the_order_of_factors_does_not_matter(a: Dim, b: Dim, c: Dim) -> None:
    assert product([a, b, c]).equals(product([c, a, b]))


def test_a_division_that_does_not_come_out_even_is_a_size_of_its_own() -> None:
    rest = Term("//")
    assert dim("6").quotient(dim("4"), rest).equals(atom(rest))
    assert dim("C").quotient(dim("h"), rest).equals(atom(rest))
    assert dim("C*h").quotient(dim("h"), rest).equals(dim("C"))


def test_nothing_is_divided_by_zero() -> None:
    assert dim("6").over(Dim(0, Counter())) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Const(4), "4", id="a number"),
        pytest.param(TERMS["B"], "B", id="an unknown size"),
        pytest.param(dim("2*h"), "2*h", id="a dimension"),
    ],
)
def test_a_value_is_used_as_a_size(value: object, expected: str) -> None:
    found = dimension(value)
    assert found is not None
    assert found.equals(dim(expected))


@pytest.mark.parametrize("value", [Const(-1), Const(0), Const(2.5), Const("4"), TRUE, FALSE, NONE])
def test_a_value_cannot_be_a_size(value: Const) -> None:
    assert dimension(value) is None


# Shapes


def test_the_same_dimension_is_meant_each_time_it_is_asked_for() -> None:
    shape = Shape()
    first = shape.dim(0)
    assert first is not None
    assert shape.dim(0) is first
    assert not first.equals(shape.dim(1) or first)


def test_what_was_asked_for_is_kept_when_the_rank_becomes_known() -> None:
    shape = Shape()
    first, last = shape.dim(0), shape.dim(-1)
    unpacked = shape.unpack(3)
    assert unpacked is not None
    assert (unpacked[0], unpacked[2]) == (first, last)
    assert shape.dim(2) is last


def test_a_shape_has_one_rank() -> None:
    shape = Shape()
    assert shape.unpack(3) is not None
    assert shape.unpack(2) is None
    assert shape.dim(3) is None
    assert shape.dim(-4) is None


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, -1, "B*T*C"), (1, -1, "B T*C"), (0, 1, "B*T C"), (1, 1, "B T C"), (-2, -1, "B T*C")],
)
def test_flatten(start: int, end: int, expected: str) -> None:
    found = flattened(dims("B T C"), start, end)
    assert found is not None
    assert [a.equals(b) for a, b in zip(found, dims(expected), strict=True)] == [True] * len(found)


def test_flatten_backwards_is_nothing() -> None:
    assert flattened(dims("B T C"), 2, 1) is None


# Views


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("B T C", "B T C", id="nothing changes"),
        pytest.param("B T C", "B*T C", id="neighbours merged"),
        pytest.param("B T C", "-1 C", id="neighbours merged, counted by torch"),
        pytest.param("B T C", "B -1", id="flattened but for the batch"),
        pytest.param("B T C", "-1", id="flattened"),
        pytest.param("B T C", "B T C 1", id="a size of 1 added"),
        pytest.param("B 1 T C", "B T C", id="a size of 1 dropped"),
        pytest.param("1 B T", "B 1 T", id="a size of 1 moved"),
        pytest.param("B T 4*h", "B T 4 h", id="heads split off"),
        pytest.param("B T 4*h", "B T 4 -1", id="heads split off, counted by torch"),
        pytest.param("B T 4 h", "B T 4*h", id="heads merged"),
        pytest.param("B T C", "B T h C//h", id="heads of an unknown number"),
        pytest.param("B T h C//h", "B T C", id="such heads merged"),
        pytest.param("B*T C H W", "B T C H W", id="frames and batch apart"),
        pytest.param("B C H W", "B C H*W", id="pixels in a row"),
        pytest.param("B 2 3 4", "B 6 4", id="numbers merged"),
        pytest.param("B 24", "B 2 3 4", id="numbers split"),
        pytest.param("4 6", "8 3", id="cut elsewhere"),
        pytest.param("12 B", "3 4*B", id="a part of a number moved to its neighbour"),
        pytest.param("B B", "B B", id="the same size twice"),
        pytest.param("3 32 32", "3 1024", id="an image in rows"),
    ],
)
def test_a_view_that_splits_and_merges_is_in_order(source: str, target: str) -> None:
    assert view(source, target) == IN_ORDER


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("B T C", "T B C", id="time before batch"),
        pytest.param("B T C", "B C T", id="channels before time"),
        pytest.param("B T C", "-1 T", id="batch and channels merged over time"),
        pytest.param("B T C", "C -1", id="the last dimension first"),
        pytest.param("B T 4*h", "B 4 T h", id="heads before time"),
        pytest.param("B T 4*h", "B 4 T -1", id="heads before time, counted by torch"),
        pytest.param("B T h C//h", "B h T C//h", id="such heads moved"),
        pytest.param("B T C", "B h T C//h", id="heads of an unknown number before time"),
        pytest.param("3 32 32", "32 32 3", id="channels last"),
        pytest.param("32 32 3", "3 32 32", id="channels first"),
        pytest.param("B H W 3", "B 3 H W", id="channels first in a batch"),
        pytest.param("2 3", "3 2", id="a matrix"),
        pytest.param("2 B h", "B 2*h", id="a hidden state of two layers"),
    ],
)
def test_a_view_that_permutes_is_mixed(source: str, target: str) -> None:
    assert view(source, target) == MIXED


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("B T C", "B H -1", id="sizes that do not occur in the source"),
        pytest.param("B 6", "B 4 -1", id="a number that does not divide"),
        pytest.param("B T C", "-1 -1", id="two sizes for torch to count"),
        pytest.param("B T C", "h B", id="fewer atoms"),
    ],
)
def test_nothing_is_said_of_what_cannot_be_matched(source: str, target: str) -> None:
    assert view(source, target) is None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("B C s1", "B s1 C", id="the last is 1 after pooling over all of it"),
        pytest.param("s1 B", "B s1", id="the first is 1 after a slice"),
        pytest.param("B C s1 s2", "s1*s2 B C", id="both may be 1"),
    ],
)
def test_nothing_is_said_where_the_size_in_the_way_may_be_1(source: str, target: str) -> None:
    assert view(source, target) is None


def test_a_size_that_the_user_names_is_not_meant_to_be_1() -> None:
    shape = Shape((dim("B"), atom(Term("size")), dim("C")))
    b, t, c = shape.unpack(3) or ()
    matched = resolve_view(shape, [b, c, t])
    assert matched is not None
    assert order(*matched) == MIXED


def test_dimensions_named_in_another_order_tell_the_source() -> None:
    """`x.view(x.size(0), x.size(2), x.size(1))` of a tensor of which nothing else is known."""
    shape = Shape()
    zero, one, two = shape.dim(0), shape.dim(1), shape.dim(2)
    matched = resolve_view(shape, [zero, two, one])
    assert matched is not None
    assert order(*matched) == MIXED


def test_a_single_dimension_of_an_unknown_shape_tells_nothing() -> None:
    shape = Shape()
    assert resolve_view(shape, [shape.dim(0), dim("4"), dim("h")]) is None


# Against numpy


def only_splits_and_merges(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether each coordinate of the source is a sum of what the single coordinates of the target contribute.

    A split or merge never carries from one target coordinate to the next; any other view of more than one dimension
    does for some element.
    """
    coordinates = np.indices(source).reshape(len(source), *target)
    total = np.zeros_like(coordinates)
    for axis in range(len(target)):
        alone = [slice(None) if i == axis else slice(0, 1) for i in range(len(target))]
        total = total + coordinates[(slice(None), *alone)]
    return bool((total == coordinates).all())


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((2, 3), (6,), True),
        ((6,), (2, 3), True),
        ((4, 6), (8, 3), True),
        ((2, 3), (3, 2), False),
        ((4, 6), (3, 8), False),
    ],
)
def test_the_check_by_numpy_can_tell(source: tuple[int, ...], target: tuple[int, ...], expected: bool) -> None:
    assert only_splits_and_merges(source, target) is expected


@st.composite
def grouped(draw: st.DrawFn, parts: list[str]) -> list[list[str]]:
    """Parts put into groups of neighbours."""
    cuts = draw(st.lists(st.booleans(), min_size=len(parts) - 1, max_size=len(parts) - 1))
    groups = [parts[:1]]
    for part, cut in zip(parts[1:], cuts, strict=True):
        if cut:
            groups.append([part])
        else:
            groups[-1].append(part)
    return groups


numbers = st.lists(st.sampled_from(["2", "3", "4", "5"]), min_size=1, max_size=4)


@given(st.data())
def test_views_between_numbers_agree_with_numpy(data: st.DataObject) -> None:
    parts = data.draw(numbers)
    source = data.draw(grouped(parts))
    target = data.draw(grouped(data.draw(st.permutations(parts))))
    sizes = [tuple(int(np.prod([int(p) for p in group])) for group in groups) for groups in (source, target)]
    verdict = order([number(size) for size in sizes[0]], [number(size) for size in sizes[1]])
    assert (verdict == IN_ORDER) == only_splits_and_merges(*sizes)


@given(st.data())
def test_views_between_unknown_sizes_agree_with_numpy(data: st.DataObject) -> None:
    """Distinct primes in the place of unknown sizes: they divide each other only if the sizes are the same."""
    primes = {"B": 2, "T": 3, "C": 5, "h": 7}
    source = data.draw(grouped(data.draw(st.permutations(list(primes)))))
    target = data.draw(grouped(data.draw(st.permutations(list(primes)))))
    sizes = [tuple(int(np.prod([primes[p] for p in group])) for group in groups) for groups in (source, target)]
    left, right = (tuple(dim("*".join(group)) for group in groups) for groups in (source, target))
    assert order(left, right) == (IN_ORDER if only_splits_and_merges(*sizes) else MIXED)


@given(st.data())
def test_a_size_that_torch_counts_is_found(data: st.DataObject) -> None:
    parts = data.draw(st.permutations(["B", "T", "h", "3", "4"]))
    source, target = data.draw(grouped(parts)), data.draw(grouped(parts))
    left = Shape(tuple(dim("*".join(group)) for group in source))
    right = [dim("*".join(group)) for group in target]
    hidden = data.draw(st.integers(0, len(right) - 1))
    matched = resolve_view(left, [None if i == hidden else d for i, d in enumerate(right)])
    assert matched is not None
    assert matched[1][hidden].equals(right[hidden])
    assert order(*matched) == IN_ORDER


@given(st.data())
def test_the_verdict_does_not_depend_on_sizes_of_1(data: st.DataObject) -> None:
    source, target = (data.draw(st.permutations(["B", "T", "3", "4"])) for _ in range(2))
    assume(source)
    plain = order(dims(" ".join(source)), dims(" ".join(target)))
    places = data.draw(st.lists(st.integers(0, 4), max_size=3))
    padded = list(target)
    for place in places:
        padded.insert(place, "1")
    assert order(dims(" ".join(source)), dims(" ".join(padded))) == plain
