"""What parent and child of a check-up tell each other: one JSON document a line, without torch on either side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nndoctor.exhibits import KINDS, Exhibit
from nndoctor.findings import Failure, Finding, ProbeResult, Series
from nndoctor.plain import failure, finding
from nndoctor.requests import ProbeRequest


@dataclass(frozen=True, slots=True)
class Order:
    """To the child: what to examine; `codes` are the probes to run, None for all that the request selects."""

    request: ProbeRequest
    codes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """From the child: what the set-up does next, so that the parent knows what hangs."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The subject is built; these probes follow."""

    codes: tuple[str, ...]
    notes: tuple[str, ...]
    batch: tuple[Exhibit, ...] = ()
    filters: tuple[Exhibit, ...] = ()
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # that were run, by the path of the user's file


@dataclass(frozen=True, slots=True)
class Refused:
    """The subject cannot be built; one sentence for the user."""

    message: str


@dataclass(frozen=True, slots=True)
class Started:
    """A probe begins."""

    code: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A probe came to its end."""

    result: ProbeResult
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A probe raised; the child goes on with the next."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Done:
    """Every probe was run."""


Message = Stage | Ready | Refused | Started | Measured | Failed | Done


def encode(message: Message) -> str:
    """One line; NaN and infinity are written as Python's json reads them."""
    content = {"kind": type(message).__name__, **asdict(message)}
    if isinstance(message, Ready):
        content |= {"batch": [*map(_plain, message.batch)], "filters": [*map(_plain, message.filters)]}
    return json.dumps(content)


def decode(line: str | bytes) -> Message:
    """The message of a line."""
    content: dict[str, Any] = json.loads(line)
    match content.pop("kind"):
        case "Stage":
            return Stage(**content)
        case "Ready":
            batch, filters = (tuple(map(_exhibit, content[name])) for name in ("batch", "filters"))
            lines = {path: tuple(numbers) for path, numbers in content["lines"].items()}
            return Ready(tuple(content["codes"]), tuple(content["notes"]), batch, filters, lines)
        case "Refused":
            return Refused(**content)
        case "Started":
            return Started(**content)
        case "Measured":
            return Measured(_result(content["result"]), tuple(map(finding, content["findings"])))
        case "Failed":
            return Failed(failure(content["failure"]))
    return Done()


def encode_findings(findings: Iterable[Finding]) -> str:
    """Findings of another process as JSON; fixes stay behind."""
    return json.dumps([asdict(replace(finding, fix=None)) for finding in findings])


def decode_findings(text: str | bytes) -> tuple[Finding, ...]:
    """The findings of a JSON text."""
    return tuple(map(finding, json.loads(text)))


def encode_order(order: Order) -> str:
    """The order as JSON."""
    request = asdict(replace(order.request, arguments=dict(order.request.arguments)))
    request |= {"root": str(order.request.root), "ignore": sorted(order.request.ignore)}
    request["select"] = None if order.request.select is None else sorted(order.request.select)
    return json.dumps({"request": request, "codes": order.codes})


def decode_order(text: str) -> Order:
    """The order of a JSON text."""
    content = json.loads(text)
    request: dict[str, Any] = content["request"]
    request |= {"root": Path(request["root"]), "ignore": frozenset(request["ignore"])}
    request["select"] = None if request["select"] is None else frozenset(request["select"])
    return Order(ProbeRequest(**request), None if content["codes"] is None else tuple(content["codes"]))


def _plain(exhibit: Exhibit) -> dict[str, Any]:
    return {"kind": type(exhibit).__name__, **asdict(exhibit)}


def _exhibit(plain: dict[str, Any]) -> Exhibit:
    kind = KINDS[plain.pop("kind")]
    return kind(**{name: _tuples(value) for name, value in plain.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _series(plain: Mapping[str, Any]) -> Series:
    values = tuple(tuple(row) if isinstance(row, list) else row for row in plain["values"])
    x, band = (None if plain[name] is None else tuple(plain[name]) for name in ("x", "band"))
    return Series(**{**plain, "values": values, "x": x, "band": band, "names": tuple(plain["names"])})


def _result(plain: Mapping[str, Any]) -> ProbeResult:
    return ProbeResult(**{**plain, "series": {name: _series(series) for name, series in plain["series"].items()}})
