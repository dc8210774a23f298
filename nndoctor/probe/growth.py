"""Growth: the argument of the model's factory that makes the model larger, as the user named it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nndoctor.errors import UserError
from nndoctor.probe.entrypoint import check_names


@dataclass(frozen=True, slots=True)
class Growth:
    """The values in the order in which they were given."""

    name: str
    values: tuple[str, ...]


def parse_growth(text: str, factory: Callable[..., Any] | None, entry: str) -> Growth:
    """Read `NAME=SMALL,LARGE`; raises UserError, also where the factory has no such argument."""
    name, _, listed = text.partition("=")
    values = tuple(value.strip() for value in listed.split(",") if value.strip())
    if not name.isidentifier() or len(values) < 2:
        raise UserError(f"--grow {text!r}: write NAME=SMALL,LARGE, for instance --grow hidden=64,128")
    if factory is None:
        raise UserError(f"--grow {name}: `{entry}` is no class or function that takes arguments")
    check_names(factory, entry, [name], option="--grow")
    return Growth(name, values)
