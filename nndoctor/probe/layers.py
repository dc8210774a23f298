"""Layers by the names that a reader knows: which belong together, whose class they are part of, where they are made."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from torch import Tensor, nn

from nndoctor.findings import Location
from nndoctor.probe.blame import is_user_file, location_of, source_line
from nndoctor.probe.subject import Subject

SHOWN = 3  # names that a message can hold
SETUP = re.compile(r"_*(init|reset|setup)")  # methods that only make layers


@dataclass(frozen=True, slots=True)
class Making:
    """The attribute of a class of the user's that holds a layer, and the line that sets it."""

    owner: type[nn.Module]
    attribute: str
    location: Location
    source_line: str | None


def covering(module: nn.Module, parameters: Collection[Tensor], path: str = "") -> Iterator[str]:
    """The fewest dotted names, of modules or single parameters, that stand for exactly these parameters."""
    wanted = {id(parameter) for parameter in parameters}
    for name, parameter in module.named_parameters(path, recurse=False):
        if id(parameter) in wanted:
            yield name
    for name, child in module.named_children():
        own = {id(parameter) for parameter in child.parameters()}
        below = f"{path}.{name}" if path else name
        if own and own <= wanted:
            yield below
        elif own & wanted:
            yield from covering(child, parameters, below)


def enumerated(names: Collection[str]) -> str:
    """`a`, `b` and 4 more, in back quotes."""
    listed = list(names)
    shown = ", ".join(f"`{name}`" for name in listed[:SHOWN])
    return shown + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def making(model: nn.Module, path: str) -> Making | None:
    """Where the layer or parameter with this dotted name is made, None if no class of the user's holds it."""
    module, found = model, None
    for name in path.split("."):
        found = _assignment(type(module), name) or found
        child = getattr(module, name, None)
        if not isinstance(child, nn.Module):
            break
        module = child
    return found


def place_of(subject: Subject, path: str) -> tuple[Location | None, str | None]:
    """The line that makes the layer, else the one where the model's class or factory begins."""
    made = making(subject.model, path)
    return (made.location, made.source_line) if made else (subject.location, subject.source_line)


def is_mentioned(made: Making) -> bool:
    """Whether anything in the files of the class, but its own set-up, reads the attribute.

    On `self` it counts within the class only: others may have attributes of the same name.
    """
    return any(_mentions(kind, made.attribute) for kind in _user_classes(made.owner))


def _mentions(kind: type, attribute: str) -> bool:
    tree = _syntax(inspect.getsourcefile(kind) or "")
    own = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
        for method in node.body
        if not (isinstance(method, ast.FunctionDef) and SETUP.match(method.name))
        for inner in ast.walk(method)
    }
    return any(_reads(node, attribute, inside=id(node) in own) for node in ast.walk(tree))


def _reads(node: ast.AST, attribute: str, *, inside: bool) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Load()):
            return inside and name == attribute
        case ast.Attribute(attr=name, ctx=ast.Load()) | ast.Constant(value=name):
            return bool(name == attribute)
        case ast.Call(func=ast.Name(id="getattr")):
            return inside
    return False


@cache
def _syntax(filename: str) -> ast.AST:
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:  # a notebook's cell with magics
        return ast.Module(body=[], type_ignores=[])


def owner_is_users(model: nn.Module, path: str) -> bool:
    """Whether the innermost class around the layer that is no mere container was written by the user.

    What a library makes and leaves unused, as a pooler, is no fault of the user's.
    """
    owner: nn.Module = model
    module: nn.Module = model
    for name in path.split("."):
        if not isinstance(module, (nn.Sequential, nn.ModuleList)):
            owner = module
        child = getattr(module, name, None)
        if not isinstance(child, nn.Module):
            break
        module = child
    return bool(_user_classes(type(owner)))


def _assignment(kind: type[nn.Module], attribute: str) -> Making | None:
    setting = re.compile(
        rf"\bself\.{re.escape(attribute)}\s*(:[^=]+)?=(?!=|\s*None\b)|[\"']{re.escape(attribute)}[\"']\s*,"
    )
    for written in _user_classes(kind):
        lines, first = _lines(written)
        for offset, text in enumerate(lines):
            if setting.search(text):
                filename = inspect.getsourcefile(written) or ""
                line = first + offset
                return Making(kind, attribute, location_of(filename, line), source_line(filename, line))
    return None


def _user_classes(kind: type) -> list[type]:
    """The class and those that it inherits from, as far as they stand in the user's files."""
    found = []
    for ancestor in kind.__mro__[:-1]:
        try:
            filename = inspect.getsourcefile(ancestor)
        except (TypeError, OSError):
            continue
        if filename and is_user_file(filename):
            found.append(ancestor)
    return found


def _lines(kind: type) -> tuple[list[str], int]:
    try:
        return inspect.getsourcelines(kind)
    except (TypeError, OSError):
        return [], 1
