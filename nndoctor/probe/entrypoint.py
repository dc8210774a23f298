"""Turns `module:attribute` or `path/to/file.py:attribute` into the object, with errors that a newcomer can act on."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from nndoctor.probe.blame import describe_error, place_of_error, raised_at
from nndoctor.probe.errors import EntrypointError


def load(text: str) -> Any:
    """The object that the entrypoint names; raises EntrypointError."""
    target, colon, attribute = text.rpartition(":")
    if not colon or not target or not attribute:
        raise EntrypointError(f"`{text}` names no object: write module:attribute, for instance train:build_model")
    module = _import(*_as_module(target))
    return _attribute(module, attribute, text)


def file_of(text: str) -> Path | None:
    """The source file of the module that the entrypoint names; none before it is loaded."""
    name, _ = _as_module(text.rpartition(":")[0])
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def _as_module(target: str) -> tuple[str, Path]:
    """The module's dotted name, and the directory from which it is imported."""
    if not target.endswith(".py") and "/" not in target:
        return target, Path.cwd()
    path = Path(target).resolve()
    if not path.is_file():
        raise EntrypointError(f"there is no file {target}{_suggest(path.name, _names_in(path.parent, '.py'))}")
    directory, name = path.parent, path.stem
    while (directory / "__init__.py").is_file():
        directory, name = directory.parent, f"{directory.name}.{name}"
    return name, directory


def _import(name: str, directory: Path) -> ModuleType:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise EntrypointError(_no_module(name, error.name, directory)) from error
        raise _import_failed(name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script that parses its arguments on import raises SystemExit
        raise _import_failed(name, error) from error


def _no_module(name: str, missing: str, directory: Path) -> str:
    parent = directory.joinpath(*missing.split(".")[:-1])
    near = _suggest(missing.rpartition(".")[2], _names_in(parent))
    return f"there is no module `{missing}` in {parent} or on the Python path{near}"


def _import_failed(name: str, error: BaseException) -> EntrypointError:
    advice = "; put what runs on import under `if __name__ == '__main__':`" if isinstance(error, SystemExit) else ""
    text = f"importing `{name}` failed{raised_at(error)}: {describe_error(error)}{advice}"
    return EntrypointError(text, place_of_error(error))


def _attribute(module: ModuleType, dotted: str, text: str) -> Any:
    value: Any = module
    for part in dotted.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            public = [name for name in dir(value) if not name.startswith("_")]
            names = [name for name in public if not isinstance(getattr(value, name, None), ModuleType)]
            owner = f"module `{module.__name__}`" if value is module else f"`{type(value).__name__}`"
            raise EntrypointError(f"{owner} has no `{part}` (asked for by {text}){_suggest(part, names)}") from None
    return value


def _names_in(directory: Path, suffix: str = "") -> list[str]:
    """The modules and packages of a directory, or its files with their suffix."""
    if not directory.is_dir():
        return []
    files = [path.stem + suffix for path in directory.glob("*.py")]
    return files if suffix else files + [path.parent.name for path in directory.glob("*/__init__.py")]


def _suggest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(f'`{match}`' for match in near)}?" if near else ""


def call_factory(factory: Callable[..., Any], name: str, arguments: Mapping[str, str] | None = None) -> Any:
    """Call the user's factory; raises EntrypointError if it needs arguments that were not given, or raises."""
    given = {key: _literal(text) for key, text in (arguments or {}).items()}
    check_names(factory, name, given)
    missing = [parameter for parameter in required_parameters(factory) if parameter not in given]
    if missing:
        raise EntrypointError(_missing_arguments(name, missing, by_option=arguments is not None))
    try:
        return factory(**given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"`{name}` failed{raised_at(error)}: {describe_error(error)}"
        raise EntrypointError(text, place_of_error(error)) from error


def check_names(factory: Callable[..., Any], name: str, given: Iterable[str], option: str = "--arg") -> None:
    """Raises EntrypointError for an argument that the factory does not take."""
    parameters = _parameters(factory)
    if parameters is None or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    takes = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]
    for unknown in (argument for argument in given if argument not in takes):
        near = _suggest(unknown, takes) or f"; it has {', '.join(f'`{parameter}`' for parameter in takes) or 'none'}"
        raise EntrypointError(f"{option} {unknown}: `{name}` has no such parameter{near}")


def required_parameters(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that have no default; empty if the signature cannot be read."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in _parameters(function) or () if p.default is p.empty and p.kind not in variadic]


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """None if the signature cannot be read."""
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return None


def _missing_arguments(name: str, missing: list[str], *, by_option: bool) -> str:
    needed = ", ".join(f"`{parameter}`" for parameter in missing)
    call = ", ".join(f"{parameter}=..." for parameter in missing)
    option = f"give {' '.join(f'--arg {parameter}=...' for parameter in missing)}, or " if by_option else ""
    return (
        f"`{name}` needs {needed}: {option}name a function without arguments, "
        f"for instance `def build(): return {name.rpartition(':')[2]}({call})`"
    )


def _literal(text: str) -> Any:
    """A value as Python or TOML write it (a number, a list, true, None, quoted text); everything else is plain text."""
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    import tomli

    with suppress(tomli.TOMLDecodeError, RecursionError):
        value = tomli.loads(f"value = {text}")["value"]
        if isinstance(value, (bool, float, list, dict)):  # a date stays text
            return value
    return text
