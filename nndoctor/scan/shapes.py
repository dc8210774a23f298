"""Symbolic shapes: dimensions as products of atoms, and whether a view keeps the order of the elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import gcd, prod

from nndoctor.scan.values import Const, Term, Value

IN_ORDER, MIXED = "in order", "mixed"
# Sizes that convolutions, pooling and slices leave: often 1, where any order is right.
MAY_BE_ONE = frozenset({"size"})


class Dim:
    """One dimension: a number times atoms (terms that stand for a size).

    `factors` are the dimensions that were merged into it, outer ones first; none if nobody knows their order.
    """

    __slots__ = ("atoms", "factors", "number")

    def __init__(self, number: int, atoms: Counter[Term], factors: tuple[Dim, ...] = ()) -> None:
        self.number = number
        self.atoms = atoms
        self.factors = factors

    def times(self, other: Dim) -> Dim:
        """The product."""
        return Dim(self.number * other.number, self.atoms + other.atoms)

    def over(self, other: Dim) -> Dim | None:
        """The exact quotient, or None."""
        if not other.number or self.number % other.number or not other.atoms <= self.atoms:
            return None
        return Dim(self.number // other.number, self.atoms - other.atoms)

    def quotient(self, other: Dim, fallback: Term) -> Dim:
        """`self // other`; where it does not come out even, the atom that stands for it."""
        return self.over(other) or atom(fallback)

    def common(self, other: Dim) -> Dim:
        """The greatest common divisor."""
        return Dim(gcd(self.number, other.number), self.atoms & other.atoms)

    @property
    def is_one(self) -> bool:
        """Whether it is the number 1."""
        return self.number == 1 and not self.atoms

    def equals(self, other: Dim) -> bool:
        """Whether the two are certainly the same."""
        return self.number == other.number and self.atoms == other.atoms


class Shape:
    """The shape of a tensor as far as it is known: all dimensions, or single ones that were asked for."""

    __slots__ = ("asked", "dims")

    def __init__(self, dims: tuple[Dim, ...] | None = None) -> None:
        self.dims = dims
        self.asked: dict[int, Dim] = {}

    def dim(self, index: int) -> Dim | None:
        """The dimension at an index; made when it is first asked for, None if it does not exist."""
        if self.dims is not None:
            return _named(self.dims[index]) if -len(self.dims) <= index < len(self.dims) else None
        if index not in self.asked:
            self.asked[index] = atom(Term("dim", (self, Const(index))))
        return self.asked[index]

    def unpack(self, rank: int) -> tuple[Dim, ...] | None:
        """All dimensions, now that the rank is known to be `rank`."""
        if self.dims is None:
            found = [self.asked.get(i) or self.asked.get(i - rank) for i in range(rank)]
            self.dims = tuple(d or atom(Term("dim", (self, Const(i)))) for i, d in enumerate(found))
        return tuple(map(_named, self.dims)) if len(self.dims) == rank else None


def _named(dim: Dim) -> Dim:
    """A size that the user's code asks for by name is not meant to be 1."""
    for size in dim.atoms:
        if size.op in MAY_BE_ONE:
            size.op = "dim"
    return dim


def atom(term: Term) -> Dim:
    """A dimension of unknown size."""
    return Dim(1, Counter((term,)))


def number(value: int) -> Dim:
    """A dimension of known size."""
    return Dim(value, Counter())


_IS = "is"  # in the info of a term that stands for a size: what that size is known to be


def identify(dim: Dim, size: Dim) -> None:
    """Remember that a dimension which the user's code asked for is this size, as a layer says that takes it."""
    term, size = next(iter(dim.atoms), None), _identified(size)
    if term is not None and term.op == "dim" and dim.equals(atom(term)) and term not in size.atoms:
        term.info = term.info or {_IS: size}


def _identified(dim: Dim) -> Dim:
    """The dimension in the sizes that its own are known to be."""
    if dim.factors:
        return merged([_identified(factor) for factor in dim.factors])
    for term in dim.atoms:
        if term.info is not None and _IS in term.info:
            rest = dim.over(atom(term))
            assert rest is not None
            return _identified(rest.times(term.info[_IS]))
    return dim


def dimension(value: Value) -> Dim | None:
    """A value used as a size; None where it cannot be one, or is -1."""
    if type(value) is Dim:
        return value
    if type(value) is Const:
        known = value.value
        return number(known) if type(known) is int and known > 0 else None
    if type(value) is not Term:
        return None
    if value.op == "*":
        factors = [dimension(factor) for factor in value.inputs]
        if len(factors) == 2 and factors[0] is not None and factors[1] is not None:
            return factors[0].times(factors[1])
    return atom(value)


def product(dims: Sequence[Dim]) -> Dim:
    """The number of elements."""
    return Dim(prod(d.number for d in dims), sum((d.atoms for d in dims), Counter()))


def merged(dims: Sequence[Dim]) -> Dim:
    """Neighbouring dimensions as one, which remembers their order."""
    factors = [f for d in dims for f in d.factors or (d,) if not f.is_one]
    whole = product(dims)
    # Numbers alone are cut anew too often for their order to say what was meant.
    return Dim(whole.number, whole.atoms, tuple(factors) if len(factors) > 1 and whole.atoms else ())


def flattened(dims: tuple[Dim, ...], start: int, end: int) -> tuple[Dim, ...] | None:
    """Dimensions `start` to `end` (inclusive) merged into one."""
    rank = len(dims)
    start, end = start % rank if rank else 0, end % rank if rank else 0
    return (*dims[:start], merged(dims[start : end + 1]), *dims[end + 1 :]) if start <= end else None


def broadcast(first: Shape | None, second: Shape | None) -> Shape | None:
    """The shape of an elementwise operation; what is unknown is taken to be no wider than what is known."""
    if first is None or second is None or first is second:
        return second if first is None else first
    if first.dims is None or second.dims is None:
        return first
    return Shape(_stretched(first.dims, second.dims))


def _stretched(first: tuple[Dim, ...], second: tuple[Dim, ...]) -> tuple[Dim, ...]:
    missing = len(second) - len(first)
    pairs = zip(first[max(-missing, 0) :], second[max(missing, 0) :], strict=True)
    longer = first if missing < 0 else second
    return (*longer[: abs(missing)], *(_wider(a, b) for a, b in pairs))


def _wider(a: Dim, b: Dim) -> Dim:
    if a.is_one or (_may_be_one(a) and not b.is_one and not _may_be_one(b)):
        return b
    return a


def _may_be_one(dim: Dim) -> bool:
    return any(size.op in MAY_BE_ONE for size in dim.atoms)


def in_common(shapes: Sequence[Shape | None]) -> Shape | None:
    """What is known of a tensor that has one of these shapes: sizes in which they differ are unknown."""
    known = [shape.dims for shape in shapes if shape is not None and shape.dims is not None]
    if not known or len(known) < len(shapes) or len({len(dims) for dims in known}) > 1:
        return None
    columns = zip(*known, strict=True)
    return Shape(tuple(c[0] if all(d.equals(c[0]) for d in c) else atom(Term("size")) for c in columns))


def matrix_product(first: Shape | None, second: Shape | None) -> Shape | None:
    """The shape of `first @ second`: batch dimensions broadcast, vectors lose theirs."""
    if first is None or second is None or first.dims is None or second.dims is None:
        return None
    a, b = first.dims, second.dims
    if not a or not b:
        return None
    if len(b) == 1:
        return Shape(a[:-1])
    if len(a) == 1:
        return Shape((*b[:-2], b[-1]))
    return Shape((*_stretched(a[:-2], b[:-2]), a[-2], b[-1]))


def resolve_view(source: Shape, target: Sequence[Dim | None]) -> tuple[tuple[Dim, ...], tuple[Dim, ...]] | None:
    """Both shapes of a view in the same atoms; `None` in the target stands for -1. None if they cannot be matched."""
    dims = source.dims or _implied(source, target)
    if dims is None or target.count(None) > 1:
        return None
    named = [dim and _identified(dim) for dim in target]
    return _matched(dims, target) or _matched(tuple(map(_identified, dims)), named)


def _matched(dims: tuple[Dim, ...], target: Sequence[Dim | None]) -> tuple[tuple[Dim, ...], tuple[Dim, ...]] | None:
    """Both shapes in the same atoms, if what is left of one dimension can be what is left of the other."""
    dims = _split_by_quotients(dims, [d for d in target if d is not None])
    if None in target:
        rest = product(dims).over(product([d for d in target if d is not None]))
        return None if rest is None else (dims, tuple(d or rest for d in target))
    return _balanced(dims, tuple(d for d in target if d is not None))


def order(source: Sequence[Dim], target: Sequence[Dim]) -> str | None:
    """Whether a view from `source` to `target` (in the same atoms) only splits and merges neighbours.

    A view keeps the elements in row-major order. It is right exactly if the two lists of factors can be brought to
    one order, which is so if, read from the left, one of the two current dimensions always divides the other.
    """
    left = [f for d in source for f in d.factors or (d,) if not f.is_one]
    right = [d for d in target if not d.is_one]
    while left and right:
        a, b = left[0], right[0]
        shared = b.over(a), a.over(b)
        if shared == (None, None):
            if _may_be_one(a) or _may_be_one(b):
                return None
            return MIXED if a.atoms or b.atoms or _reappears(left, right) else None
        left[0:1] = [] if shared[1] is None or shared[1].is_one else [shared[1]]
        right[0:1] = [] if shared[0] is None or shared[0].is_one else [shared[0]]
    return IN_ORDER


def fits_without_first(source: Sequence[Dim], target: Sequence[Dim | None]) -> bool:
    """Whether a target that begins with 1 keeps the order if the source's first dimension is 1 too."""
    first = target[0] if target else None
    if first is None or not first.is_one or not source or not source[0].atoms:
        return False
    matched = resolve_view(Shape(tuple(source[1:])), target[1:])
    return matched is not None and order(*matched) == IN_ORDER


def remembered(source: Sequence[Dim], target: Sequence[Dim]) -> tuple[Dim, ...]:
    """The target of a view that keeps the order; its merged dimensions remember what of the source is in them."""
    left = [f for d in source for f in d.factors or (d,) if not f.is_one]
    found: list[Dim] = []
    for wanted in target:
        parts: list[Dim] = []
        rest: Dim | None = wanted
        while left and rest is not None and not rest.is_one:
            smaller = rest.over(left[0])
            if smaller is not None:
                parts.append(left.pop(0))
            elif (cut := left[0].over(rest)) is not None:
                parts.append(rest)
                left[0] = cut
                smaller = number(1)
            rest = smaller
        found.append(merged(parts) if rest is not None and rest.is_one and len(parts) > 1 else wanted)
    return tuple(found)


def _reappears(left: Sequence[Dim], right: Sequence[Dim]) -> bool:
    """Whether a dimension known by its number stands on both sides: then it was moved, not cut anew."""
    return bool({d.number for d in left if not d.atoms} & {d.number for d in right if not d.atoms})


def _implied(source: Shape, target: Sequence[Dim | None]) -> tuple[Dim, ...] | None:
    """The source's dimensions where the target names each of them once (`x.view(x.size(0), x.size(2), x.size(1))`)."""
    if target.count(None) == 1:
        return _with_middle(source)
    places = {id(d): i for i, d in source.asked.items() if i >= 0}
    found = {places[id(d)]: d for d in target if d is not None and id(d) in places}
    others = [d for d in target if d is not None and id(d) not in places]
    missing = [i for i in range(len(target)) if i not in found]
    if len(found) < 2 or len(others) > 1 or len(missing) != len(others) or max(found) >= len(target):
        return None
    return tuple(found.get(i) or others[0] for i in range(len(target)))


def _with_middle(source: Shape) -> tuple[Dim, ...] | None:
    """First and last dimension known, something between them: that is what the user's -1 stands for."""
    first, last = source.asked.get(0), source.asked.get(-1)
    return (first, atom(Term("dim")), last) if first is not None and last is not None else None


def _split_by_quotients(dims: tuple[Dim, ...], target: Sequence[Dim]) -> tuple[Dim, ...]:
    """`C` becomes `h * (C // h)` where the target uses `C // h`."""
    for wanted in {a for d in target for a in d.atoms if a.op == "//"}:
        whole, part = dimension(wanted.inputs[0]), dimension(wanted.inputs[1])
        if whole is None or part is None:
            continue
        for i, dim in enumerate(dims):
            rest = dim.over(whole)
            if rest is not None and not whole.is_one:
                split = rest.times(part).times(atom(wanted))
                dims = (*dims[:i], split, *dims[i + 1 :])
                break
    return dims


def _balanced(source: tuple[Dim, ...], target: tuple[Dim, ...]) -> tuple[tuple[Dim, ...], tuple[Dim, ...]] | None:
    """Since both have as many elements, what is left of one dimension equals what is left of the target."""
    total, wanted = product(source), product(target)
    shared = total.common(wanted)
    left, right = total.over(shared), wanted.over(shared)
    if left is None or right is None:
        return None
    if left.is_one and right.is_one:
        return source, target
    if not left.atoms and (right.number > 1 or right.atoms.total() > 1):
        return None  # a number may be split in many ways
    rewritten = _substituted(source, left, right)
    if rewritten is not None:
        return rewritten, target
    if not _is_quotient_of(left, right):  # else the source's other dimensions may be 1
        return None
    rewritten = _substituted(target, right, left)
    return None if rewritten is None else (source, rewritten)


def _is_quotient_of(parts: Dim, whole: Dim) -> bool:
    """Whether `parts` holds `whole // n`, so that the two are known to be equal."""
    divided = [dimension(a.inputs[0]) for a in parts.atoms if a.op == "//"]
    return any(d is not None and d.equals(whole) for d in divided)


def _substituted(dims: tuple[Dim, ...], part: Dim, by: Dim) -> tuple[Dim, ...] | None:
    """The dimensions with `part` written as `by`, if exactly one of them holds it."""
    holders = [i for i, d in enumerate(dims) if d.over(part) is not None]
    if part.is_one or len(holders) != 1:
        return None
    i = holders[0]
    rest = dims[i].over(part)
    assert rest is not None
    return (*dims[:i], rest.times(by), *dims[i + 1 :])
