"""Expressions: every node type to the abstract value it evaluates to."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import libcst as cst

from nndoctor.scan.interpreter import calls, comprehensions, containers, objects, operators, subscripts, tables
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import FALSE, ITEMS, NONE, TRUE, Const, Container, Function, Term, Tuple, Value

_BUILTINS = frozenset(dir(builtins))
_KEYWORDS = {"None": NONE, "True": TRUE, "False": FALSE}


class _Dispatch(dict[type, Callable[..., Value]]):
    """Node type to evaluator; what has none is evaluated to an unknown value."""

    def __missing__(self, kind: type) -> Callable[..., Value]:
        return _unknown


def _unknown(run: Machine, node: Any) -> Value:
    return run.term("unknown", (), node)


def _name(run: Machine, node: cst.Name) -> Value:
    name = node.value
    found = run.lookup(name)
    if found is not None:
        return found
    constant = _KEYWORDS.get(name)
    if constant is not None:
        return constant
    if name in _BUILTINS:
        return run.api("builtins." + name)
    return run.pure("name", name)


def _attribute(run: Machine, node: cst.Attribute) -> Value:
    receiver = run.dispatch[type(node.value)](run, node.value)
    return objects.get_attribute(run, receiver, node.attr.value, node)


def _integer(run: Machine, node: cst.Integer) -> Value:
    found = run.constants.get(id(node))
    if found is None:
        try:
            found = Const(int(node.value, 0))
        except ValueError:  # more digits than Python converts, or an old octal
            found = Term("number")
        run.constants[id(node)] = found
    return found


def _float(run: Machine, node: cst.Float) -> Value:
    found = run.constants.get(id(node))
    if found is None:
        found = run.constants[id(node)] = Const(float(node.value.replace("_", "")))
    return found


def _string(run: Machine, node: cst.SimpleString) -> Value:
    found = run.constants.get(id(node))
    if found is None:
        text = node.value.lstrip("rRbBuU")
        quotes = 3 if text[:3] in ('"""', "'''") else 1
        found = run.constants[id(node)] = Const(text[quotes:-quotes])
    return found


def _text(run: Machine, node: cst.FormattedString) -> Value:
    for part in node.parts:
        if type(part) is cst.FormattedStringExpression:
            run.dispatch[type(part.expression)](run, part.expression)
    return run.term("text", (), node)


def _tuple(run: Machine, node: cst.Tuple) -> Value:
    items, rest = _elements(run, node)
    return Tuple(items) if rest is None else run.born(Container("list", items, rest))


def _list(run: Machine, node: cst.List) -> Value:
    return run.born(Container("list", *_elements(run, node)))


def _set(run: Machine, node: cst.Set) -> Value:
    return run.born(Container("set", *_elements(run, node)))


def _elements(run: Machine, node: Any) -> tuple[tuple[Value, ...], Value | None]:
    items: list[Value] = []
    rest: Value | None = None
    for element in node.elements:
        value = run.dispatch[type(element.value)](run, element.value)
        if type(element) is not cst.StarredElement:
            items.append(value)
            continue
        known = containers.known_items(run, value)
        if known is None:
            other = containers.element(run, value, element)
            rest = other if rest is None else containers.any_of(run, (rest, other), element)
        else:
            items.extend(known)
    return tuple(items), rest


def _dict(run: Machine, node: cst.Dict) -> Value:
    made = run.born(Container("dict", {}))
    for element in node.elements:
        value = run.dispatch[type(element.value)](run, element.value)
        if type(element) is not cst.DictElement:
            tables.update(run, made, value, node)
            continue
        key = run.resolve(run.dispatch[type(element.key)](run, element.key))
        if tables.is_key(key):
            made.attrs[ITEMS][key.value] = value  # nobody else has it yet, so the trail need not know
        else:
            tables.put(run, made, key, value)
    return made


def _comparison(run: Machine, node: cst.Comparison) -> Value:
    left = run.dispatch[type(node.left)](run, node.left)
    result: Value = TRUE
    for part in node.comparisons:
        right = run.dispatch[type(part.comparator)](run, part.comparator)
        result = operators.compare(run, type(part.operator).__name__, left, right, node)
        left = right
    return result if len(node.comparisons) == 1 else run.pure("chain", result, left)


def _boolean(run: Machine, node: cst.BooleanOperation) -> Value:
    left = run.dispatch[type(node.left)](run, node.left)
    is_and = type(node.operator) is cst.And
    known = run.truth(left)
    flag = type(left) is Term and left.op == "training"  # stays in sight, whatever the mode is now
    if known is not None and known is not is_and and not flag:
        return left
    right = run.dispatch[type(node.right)](run, node.right)
    if known is not None and not flag:
        return right
    return run.pure("and" if is_and else "or", left, right)


def _unary(run: Machine, node: cst.UnaryOperation) -> Value:
    operand = run.dispatch[type(node.expression)](run, node.expression)
    return operators.unary(run, type(node.operator).__name__, operand, node)


def _binary(run: Machine, node: cst.BinaryOperation) -> Value:
    left = run.dispatch[type(node.left)](run, node.left)
    right = run.dispatch[type(node.right)](run, node.right)
    return operators.binary(run, type(node.operator).__name__, left, right, node)


def _conditional(run: Machine, node: cst.IfExp) -> Value:
    condition = run.dispatch[type(node.test)](run, node.test)
    results: list[Value] = [None, None]

    def side(index: int, expression: Any) -> None:
        results[index] = run.dispatch[type(expression)](run, expression)

    if type(condition) is Term and condition.op == "training":  # both sides stay in sight, whatever the mode is now
        run.under(condition, True, lambda: side(0, node.body))
        run.under(condition, False, lambda: side(1, node.orelse))
        return run.merged(condition, results[0], results[1])
    run.branch(condition, lambda: side(0, node.body), lambda: side(1, node.orelse))
    if results[0] is None or results[1] is None:
        return results[0] if results[1] is None else results[1]
    return run.joined(condition, results[0], results[1])


def _lambda(run: Machine, node: cst.Lambda) -> Value:
    function = Function(node, run.frame.source, run.frame.scope)
    for parameter in (*node.params.params, *node.params.kwonly_params):
        if parameter.default is not None:
            function.defaults[parameter.name.value] = run.dispatch[type(parameter.default)](run, parameter.default)
    return function


def _subscript(run: Machine, node: cst.Subscript) -> Value:
    return subscripts.get_item(run, node)


def _parts_of_slice(run: Machine, node: cst.Slice) -> Value:
    if node.lower is None and node.upper is None and node.step is None:
        return run.pure("full slice")
    bounds = (node.lower, node.upper, node.step)
    return run.term("slice", tuple(NONE if b is None else run.dispatch[type(b)](run, b) for b in bounds), node)


def _ellipsis(run: Machine, node: cst.Ellipsis) -> Value:
    return run.pure("ellipsis")


def _index(run: Machine, node: cst.Index) -> Value:
    return run.dispatch[type(node.value)](run, node.value)


def _named(run: Machine, node: cst.NamedExpr) -> Value:
    value = run.dispatch[type(node.value)](run, node.value)
    run.assign(node.target.value, value)  # type: ignore[attr-defined]
    return value


def _await(run: Machine, node: cst.Await) -> Value:
    return run.dispatch[type(node.expression)](run, node.expression)


def _yield(run: Machine, node: cst.Yield) -> Value:
    source = node.value
    if run.frame.on_yield is not None:
        value = NONE if source is None else run.dispatch[type(source)](run, source)
        run.frame.on_yield(value)
        return NONE
    if source is None:
        return run.term("sent", (), node)
    if type(source) is cst.From:
        iterable = run.dispatch[type(source.item)](run, source.item)
        run.frame.yields.append(containers.element(run, iterable, node))
    else:
        run.frame.yields.append(run.dispatch[type(source)](run, source))
    return run.term("sent", (), node)


def _comprehension(run: Machine, node: Any) -> Value:
    return comprehensions.comprehension(run, node)


def _concatenated(run: Machine, node: Any) -> Value:
    return run.term("text", (), node)


EVALUATE = _Dispatch(
    {
        cst.Name: _name,
        cst.Attribute: _attribute,
        cst.Call: calls.evaluate_call,
        cst.Integer: _integer,
        cst.Float: _float,
        cst.SimpleString: _string,
        cst.FormattedString: _text,
        cst.ConcatenatedString: _concatenated,
        cst.Tuple: _tuple,
        cst.List: _list,
        cst.Set: _set,
        cst.Dict: _dict,
        cst.Comparison: _comparison,
        cst.BooleanOperation: _boolean,
        cst.UnaryOperation: _unary,
        cst.BinaryOperation: _binary,
        cst.IfExp: _conditional,
        cst.Lambda: _lambda,
        cst.Subscript: _subscript,
        cst.Slice: _parts_of_slice,
        cst.Index: _index,
        cst.Ellipsis: _ellipsis,
        cst.NamedExpr: _named,
        cst.Await: _await,
        cst.Yield: _yield,
        cst.ListComp: _comprehension,
        cst.SetComp: _comprehension,
        cst.GeneratorExp: _comprehension,
        cst.DictComp: _comprehension,
    }
)
