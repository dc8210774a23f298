"""Operators: arithmetic, comparison and logic over constants, dimensions and tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import paths, tables
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.interpreter.shape_arguments import shape_of
from nndoctor.scan.shapes import Dim, broadcast, dimension, matrix_product
from nndoctor.scan.values import FALSE, ITEMS, LOSS, REST, TRUE, Choice, Const, Container, Term, Tuple, Value

_ARITHMETIC: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "Add": ("+", operator.add),
    "Subtract": ("-", operator.sub),
    "Multiply": ("*", operator.mul),
    "Divide": ("/", operator.truediv),
    "FloorDivide": ("//", operator.floordiv),
    "Modulo": ("%", operator.mod),
    "Power": ("**", operator.pow),
    "MatrixMultiply": ("@", operator.matmul),
    "LeftShift": ("<<", operator.lshift),
    "RightShift": (">>", operator.rshift),
    "BitAnd": ("&", operator.and_),
    "BitOr": ("|", operator.or_),
    "BitXor": ("^", operator.xor),
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "LessThan": operator.lt,
    "LessThanEqual": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEqual": operator.ge,
}
MAX_POWER = 64  # a larger exponent of constants is not computed
MAX_JOINED = 1024  # items of a sequence put together from two; a longer one is summed up


def binary(run: Machine, name: str, left: Value, right: Value, node: Any) -> Value:
    """`left OP right`, OP by the name of its libcst node."""
    symbol, compute = _ARITHMETIC[name.removesuffix("Assign") if name not in _ARITHMETIC else name]
    left, right = run.resolve(left), run.resolve(right)
    if type(left) is Const and type(right) is Const:
        return _fold(run, symbol, compute, left, right, node)
    if type(left) is Choice:
        return run.each(left, lambda leaf: binary(run, name, leaf, right, node))
    if type(right) is Choice:
        return run.each(right, lambda leaf: binary(run, name, left, leaf, node))
    if type(left) in _SEQUENCES and type(right) in _SEQUENCES and symbol == "+":
        return _concatenate(run, left, right)
    if symbol == "|" and type(left) is Container and type(right) is Container and left.kind == right.kind == "dict":
        return _united(run, left, right, node)
    if symbol == "/" and type(left) is Term and left.op == "path":
        return paths.joined(run, left, right)
    if type(left) in _SEQUENCES and symbol == "*":
        return _repeated(run, left, right)
    if type(right) in _SEQUENCES and symbol == "*":
        return _repeated(run, right, left)
    if symbol in ("*", "//") and (type(left) is Dim or type(right) is Dim):
        product = _dimensions(run, symbol, left, right)
        if product is not None:
            return product
    return arithmetic(run, symbol, left, right, node)


def _fold(run: Machine, symbol: str, compute: Callable[[Any, Any], Any], a: Const, b: Const, node: Any) -> Value:
    numbers = isinstance(a.value, int | float) and isinstance(b.value, int | float)
    if not numbers and symbol != "+":
        return run.term("text", (), node)
    if symbol in ("**", "<<") and isinstance(b.value, int | float) and abs(b.value) > MAX_POWER:
        return run.term("number", (), node)
    try:
        return run.constant(compute(a.value, b.value))
    except (ArithmeticError, TypeError, ValueError):
        return run.term("number", (), node)


_SEQUENCES = (Tuple, Container)


def _concatenate(run: Machine, left: Any, right: Any) -> Value:
    (items, rest), (more, other) = _parts(run, left), _parts(run, right)
    if type(items) is not tuple or type(more) is not tuple or len(items) + len(more) > MAX_JOINED:
        return run.term("joined", (), None)
    if type(left) is Tuple and type(right) is Tuple:
        return Tuple(items + more)
    return run.born(Container("list", items + more, rest or other))


def _parts(run: Machine, sequence: Any) -> tuple[Any, Value | None]:
    if type(sequence) is Tuple:
        return sequence.items, None
    return run.read(sequence.attrs, ITEMS), run.read(sequence.attrs, REST)


def _repeated(run: Machine, left: Any, times: Value) -> Value:
    items, rest = _parts(run, left)
    count = times.value if type(times) is Const and isinstance(times.value, int) else None
    if count is not None and type(items) is tuple and rest is None and 0 <= count * len(items) <= MAX_POWER:
        return Tuple(items * count) if type(left) is Tuple else run.born(Container("list", items * count))
    return run.born(Container("list", (), rest or (items[0] if type(items) is tuple and items else None)))


def _united(run: Machine, left: Container, right: Container, node: Any) -> Value:
    """`left | right` of two dicts."""
    made = run.born(Container("dict", {}))
    for part in (left, right):
        tables.update(run, made, part, node)
    return made


def _dimensions(run: Machine, symbol: str, left: Value, right: Value) -> Value | None:
    a, b = (dimension(side) if type(side) is not Term or _may_be_size(side) else None for side in (left, right))
    if a is None or b is None:
        return None
    return a.times(b) if symbol == "*" else a.quotient(b, run.pure("//", left, right))


_SIZES = frozenset(
    [*"attribute parameter name import dim size len number item part".split(), "float number", "//", "*"]
)


def _may_be_size(term: Term) -> bool:
    """Whether an unknown value may be a number of elements rather than a tensor."""
    return term.op in _SIZES and term.act is None and term.shape is None


def arithmetic(run: Machine, symbol: str, left: Value, right: Value, node: Any) -> Term:
    """Arithmetic with at least one unknown or tensor operand."""
    result = run.term(symbol, (left, right), node)
    if symbol == "/" and not run.in_forward:
        run.note("quotient", node, left, divisor=right)
    if result.shape is None:
        result.shape = (matrix_product if symbol == "@" else broadcast)(shape_of(run, left), shape_of(run, right))
    result.dtype = _dtype(symbol, left, right)
    if result.dtype == "uint8" and symbol in _WRAPPING and not _stays_in_range(symbol, left, right):
        run.note("byte arithmetic", node, left if _element_type(left) == "uint8" else right)
    if symbol in ("+", "-", "*", "/") and LOSS in (_act(left), _act(right)):
        result.act = LOSS
    return result


_WRAPPING = frozenset({"+", "-", "*", "**"})  # shifts of bytes pack bits, and are meant
LARGEST_BYTE = 255


def _is_zero_filled(value: Value) -> bool:
    """Whether a tensor is a part of one that was just filled with zeros."""
    while type(value) is Term and value.op == "index":
        value = value.inputs[0]
    return type(value) is Term and value.op in ("zeros", "zeros_like", "new_zeros")


def _stays_in_range(symbol: str, left: Value, right: Value) -> bool:
    """Whether the result fits a byte whatever the bytes are: `255 - x`, `x * 1`, `x + 0`, `x * mask`."""
    if symbol == "-" and type(left) is Const:
        return left.value == LARGEST_BYTE
    if "mask" in (_element_type(left), _element_type(right)):
        return True
    if symbol == "+" and (_is_zero_filled(left) or _is_zero_filled(right)):
        return True
    neutral = {"+": 0, "-": 0, "*": 1, "**": 1, "<<": 0}[symbol]
    constants = [side.value for side in (left, right) if type(side) is Const]
    return neutral in constants or (symbol == "*" and 0 in constants)


def _act(value: Value) -> str | None:
    return value.act if type(value) is Term else None


def _dtype(symbol: str, left: Value, right: Value) -> str | None:
    """The element type by torch's promotion rules, as far as the operands' types are known."""
    types = {_element_type(left), _element_type(right)}
    if symbol == "/" or "float" in types:
        return "float" if None not in types or "float" in types else None
    if "uint8" in types and types <= {"uint8", "python int", "mask"}:
        return "uint8"
    return None


_INTEGERS = frozenset({"number", "len", "counter"})


def _element_type(value: Value) -> str | None:
    if type(value) is Const:
        return "float" if isinstance(value.value, float) else "python int"
    if type(value) is Term and value.op in _INTEGERS:
        return "python int"
    return value.dtype if type(value) is Term else None


def unary(run: Machine, name: str, operand: Value, node: Any) -> Value:
    """`not x`, `-x`, `+x`, `~x`."""
    if name == "Not":
        known = run.truth(operand)
        if known is not None:
            return FALSE if known else TRUE
        return run.pure("not", operand)
    if type(operand) is Const and isinstance(operand.value, int | float):
        value = operand.value
        return Const(-value if name == "Minus" else value if name == "Plus" else ~int(value))
    result = run.term("neg" if name == "Minus" else name.lower(), (operand,), node)
    if type(operand) is Term and result is not operand:
        result.shape = operand.shape
        if operand.act == LOSS:
            result.act = LOSS
    return result


def compare(run: Machine, name: str, left: Value, right: Value, node: Any) -> Value:
    """`left OP right` for one comparison operator."""
    left, right = run.resolve(left), run.resolve(right)
    if type(left) is Choice:
        return run.each(left, lambda leaf: compare(run, name, leaf, right, node))
    if name in ("Is", "IsNot"):
        return _identity(run, name, left, right)
    if name in ("In", "NotIn"):
        return _membership(run, name, left, right)
    if type(left) is Const and type(right) is Const:
        try:
            return TRUE if _COMPARISONS[name](left.value, right.value) else FALSE
        except TypeError:
            return run.pure(name, left, right)
    if name == "NotEqual":
        return run.pure("not", run.pure("Equal", left, right))
    result = run.pure(name, left, right)
    result.dtype = "bool"
    if name == "Equal" and type(left) is Term and type(right) is Term:
        run.note("comparison", node, left, other=right, result=result)
    if result.shape is None:
        result.shape = broadcast(shape_of(run, left), shape_of(run, right))
    return result


def _identity(run: Machine, name: str, left: Value, right: Value) -> Value:
    positive = name == "Is"
    if type(right) is Const and right.value is None:
        if type(left) is Const:
            return TRUE if (left.value is None) is positive else FALSE
        if type(left) is not Term or left.op in _MADE:
            return FALSE if positive else TRUE
    elif type(left) is Const and type(right) is Const:
        return TRUE if (left.value is right.value) is positive else FALSE
    same = run.pure("Is", left, right)
    return same if positive else run.pure("not", same)


_MADE = frozenset({"forward", "layer", "batch", "counter", "text", "+", "-", "*", "/"})  # never None


def _membership(run: Machine, name: str, left: Value, right: Value) -> Value:
    if type(left) is Const:
        known: Any = None
        if type(right) is Tuple and all(type(item) is Const for item in right.items):
            known = any(item.value == left.value for item in right.items)
        elif type(right) is Const and isinstance(right.value, str) and isinstance(left.value, str):
            known = left.value in right.value
        elif type(right) is Container and run.read(right.attrs, REST) is None:
            known = _contains(run.read(right.attrs, ITEMS), left.value)
        if known is not None:
            return TRUE if known is (name == "In") else FALSE
    inside = run.pure("In", left, right)
    return inside if name == "In" else run.pure("not", inside)


def _contains(items: Any, value: object) -> bool | None:
    if type(items) is dict:
        return value in items
    if all(type(item) is Const for item in items):
        return any(item.value == value for item in items)
    return None
