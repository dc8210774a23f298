"""Imports: files of the project are run when they are first imported, everything else is a library name."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import statements
from nndoctor.scan.interpreter.frames import RETURN, Frame
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.source import SourceFile
from nndoctor.scan.values import FALSE, ITEMS, Api, Const, Container, Module, Scope, Tuple, Value

# Lines of files that only imports lead to. A training project is smaller; in a large library the rest stays unknown.
MAX_IMPORTED_LINES = 20_000


def run_module(run: Machine, source: SourceFile, name: str) -> Module:
    """The module of a file; its body is run the first time."""
    found = run.modules.get(source)
    if found is not None:
        return found
    module = run.modules[source] = Module(source, name)
    module.attrs["__name__"] = Const(name)
    module.attrs["__file__"] = Const(str(source.path))
    if not _within_budget(run, source) or (tree := source.module) is None:
        return module
    run.program.sources.append(source)
    outer = run.frames, run.assumed, run.loops, run.grad, run.amp, run.statements
    frame = Frame(source, Scope(module.attrs, None), 0)
    run.frames, run.assumed, run.loops, run.statements = [frame], {}, (), 0
    statements.run_block(run, tree.body)
    run.meet(0, (RETURN,))
    run.frames, run.assumed, run.loops, run.grad, run.amp, run.statements = outer
    return module


def _within_budget(run: Machine, source: SourceFile) -> bool:
    """Whether a file is one of those to examine, or an import near enough to be worth its parse."""
    if source in run.requested:
        return True
    run.imported_lines += source.text.count("\n")
    return run.imported_lines <= MAX_IMPORTED_LINES


def member(run: Machine, module: Module, name: str) -> Value:
    """`module.name`: a name of the module or a submodule of the package."""
    found = run.read(module.attrs, name)
    if found is not None:
        return run.resolve(found)
    source = run.project.resolve(module.source, f"{module.name}.{name}", 0)
    if source is not None and source is not module.source:
        return run_module(run, source, f"{module.name}.{name}")
    return run.pure("attribute", module, name)


def import_names(run: Machine, node: cst.Import) -> None:
    """`import a.b.c`, `import a.b as c`."""
    for alias in node.names:
        dotted = _dotted(alias.name)
        value = imported(run, dotted, 0)
        if alias.asname is not None:
            statements.bind(run, alias.asname.name, value)
        else:
            top = dotted.partition(".")[0]
            run.assign(top, imported(run, top, 0) if "." in dotted else value)


def import_from(run: Machine, node: cst.ImportFrom) -> None:
    """`from a import b as c`, `from . import b`, `from a import *`."""
    base = _dotted(node.module) if node.module is not None else ""
    level = len(node.relative)
    if isinstance(node.names, cst.ImportStar):
        _import_star(run, base, level)
        return
    for alias in node.names:
        name = _dotted(alias.name)
        target = alias.asname.name if alias.asname is not None else alias.name
        value = _from(run, base, level, name)
        if type(value) is Api:
            run.note("import", alias, value, name=f"{base}.{name}")
        statements.bind(run, target, value)


def _from(run: Machine, base: str, level: int, name: str) -> Value:
    source = run.project.resolve(run.frame.source, base, level)
    if source is not None and source is not run.frame.source:
        module = run_module(run, source, base)
        found = run.read(module.attrs, name)
        if found is not None:
            return run.resolve(found)
    submodule = run.project.resolve(run.frame.source, f"{base}.{name}" if base else name, level)
    if submodule is not None and submodule is not run.frame.source:
        return run_module(run, submodule, f"{base}.{name}" if base else name)
    if source is not None or level:
        return run.pure("import", f"{base}.{name}")
    if (base, name) == ("typing", "TYPE_CHECKING"):
        return FALSE
    return run.api(torch_api.canonical(f"{base}.{name}"))


def imported(run: Machine, dotted: str, level: int) -> Value:
    """The module of a dotted name: of the project, or of a library."""
    source = run.project.resolve(run.frame.source, dotted, level)
    if source is not None:
        return run_module(run, source, dotted)
    return run.api(torch_api.canonical(dotted))


def _import_star(run: Machine, base: str, level: int) -> None:
    source = run.project.resolve(run.frame.source, base, level)
    if source is None:
        for name in torch_api.star_names(base):
            run.assign(name, run.api(torch_api.canonical(f"{base}.{name}")))
        return
    if source is run.frame.source:
        return
    module = run_module(run, source, base)
    exported = module.attrs.get("__all__")
    listed = _listed(exported)
    for name, value in list(module.attrs.items()):
        if name in listed if listed is not None else not name.startswith("_"):
            run.assign(name, value)


def _listed(exported: Value | None) -> set[Any] | None:
    items = exported.items if type(exported) is Tuple else None
    if type(exported) is Container:
        items = exported.attrs[ITEMS]
    if items is None or not all(type(item) is Const for item in items):
        return None
    return {item.value for item in items}


def _dotted(node: Any) -> str:
    if type(node) is cst.Attribute:
        return f"{_dotted(node.value)}.{node.attr.value}"
    return str(node.value)
