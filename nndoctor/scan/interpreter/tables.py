"""Dicts as objects that change: values by constant key, and one for the keys that are not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndoctor.scan.interpreter import containers
from nndoctor.scan.interpreter.heap import join
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import ITEMS, NONE, REST, Const, Container, Term, Tuple, Value


def is_key(value: Value) -> bool:
    """Whether a value is a constant that can be a key."""
    return type(value) is Const and isinstance(value.value, str | int | float | bool | bytes | type(None))


def get(run: Machine, table: Any, key: Value) -> Value:
    """`table[key]`."""
    items = run.read(table.attrs, ITEMS)
    if is_key(key) and key.value in items:
        return run.resolve(items[key.value])
    rest = _named(run, run.read(table.attrs, REST), key)
    return rest if rest is not None else run.pure("item", table, key)


def _named(run: Machine, rest: Value | None, key: Value) -> Value | None:
    """What stands at a key that nobody put there; an argument among the unknown `**kwargs` goes by its keyword."""
    if type(rest) is Term and rest.op == "keywords" and type(key) is Const and isinstance(key.value, str):
        return run.pure("attribute", rest, key.value)
    return rest


def put(run: Machine, table: Any, key: Value, value: Value) -> None:
    """`table[key] = value`; under an unknown key each value is the new or the old one."""
    items = run.read(table.attrs, ITEMS)
    if is_key(key):
        run.write(table.attrs, ITEMS, {**items, key.value: value})
        return
    run.write(table.attrs, REST, value)
    if items:
        guards = {k: run.pure("Equal", key, run.constant(k)) for k in items}
        run.write(table.attrs, ITEMS, {k: join(guards[k], value, old) for k, old in items.items()})


def remove(run: Machine, table: Any, key: Value) -> None:
    """`del table[key]`."""
    items = run.read(table.attrs, ITEMS)
    if is_key(key) and key.value in items:
        run.write(table.attrs, ITEMS, {k: v for k, v in items.items() if k != key.value})


def update(run: Machine, table: Any, more: Value, node: Any) -> None:
    """`table.update(more)`."""
    more = run.resolve(more)
    items = run.read(table.attrs, ITEMS)
    if type(more) is Container and more.kind == "dict":
        run.write(table.attrs, ITEMS, {**items, **run.read(more.attrs, ITEMS)})
        rest = run.read(more.attrs, REST)
        if rest is not None:
            run.write(table.attrs, REST, rest)
        return
    pairs = containers.known_items(run, more)
    if pairs is not None and all(type(pair) is Tuple and len(pair.items) == 2 for pair in pairs):
        for pair in pairs:
            put(run, table, run.resolve(pair.items[0]), pair.items[1])
        return
    changed = {}
    for k, old in items.items():
        key = run.constant(k)
        changed[k] = join(run.pure("In", key, more), run.pure("item", more, key), old)
    run.write(table.attrs, ITEMS, changed)
    run.write(table.attrs, REST, run.pure("element", more))


# Methods by name ------------------------------------------------------------------------------------------------------


def _get(run: Machine, table: Any, args: Any, node: Any) -> Value:
    key = run.resolve(args.positional[0])
    default = args.positional[1] if len(args.positional) > 1 else NONE
    items, rest = run.read(table.attrs, ITEMS), _named(run, run.read(table.attrs, REST), key)
    if is_key(key) and key.value in items:
        return run.resolve(items[key.value])
    if rest is not None:
        return join(run.pure("In", key, table), rest, default)
    return default if is_key(key) or not items else run.pure("item", table, key)


def _pop(run: Machine, table: Any, args: Any, node: Any) -> Value:
    value = _get(run, table, args, node)
    remove(run, table, run.resolve(args.positional[0]))
    return value


def _setdefault(run: Machine, table: Any, args: Any, node: Any) -> Value:
    key, value = run.resolve(args.positional[0]), _get(run, table, args, node)
    if not (is_key(key) and key.value in run.read(table.attrs, ITEMS)):
        put(run, table, key, value)
    return value


def _update(run: Machine, table: Any, args: Any, node: Any) -> Value:
    for more in args.positional:
        update(run, table, more, node)
    for name, value in args.keywords.items():
        put(run, table, run.constant(name), value)
    if args.open:
        update(run, table, Term("unknown"), node)
    return NONE


def _clear(run: Machine, table: Any, args: Any, node: Any) -> Value:
    run.write(table.attrs, ITEMS, {})
    run.write(table.attrs, REST, None)
    return NONE


def _copy(run: Machine, table: Any, args: Any, node: Any) -> Value:
    return run.born(Container("dict", run.read(table.attrs, ITEMS), run.read(table.attrs, REST)))


def _view(name: str) -> Callable[[Machine, Any, Any, Any], Value]:
    return lambda run, table, args, node: run.pure(name, table)


def _keys(run: Machine, table: Any, args: Any, node: Any) -> Value:
    return table


_METHODS: dict[str, Callable[[Machine, Any, Any, Any], Value]] = {
    "get": _get,
    "pop": _pop,
    "setdefault": _setdefault,
    "update": _update,
    "clear": _clear,
    "copy": _copy,
    "items": _view("items"),
    "values": _view("values"),
    "keys": _keys,
}
_OF_A_KEY = frozenset({"get", "pop", "setdefault"})


def method(run: Machine, table: Any, name: str, args: Any, node: Any) -> Value:
    """A method of a dict."""
    known = _METHODS.get(name)
    if known is None or (name in _OF_A_KEY and not args.positional):
        return Term("unknown")
    return known(run, table, args, node)
