"""Old findings: the file that lists them, what of a report is in it, and what of it is no longer found."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nndoctor.catalog import rule_names
from nndoctor.errors import UserError
from nndoctor.findings import Finding, Report
from nndoctor.layers import shown
from nndoctor.report.destinations import replace_file
from nndoctor.report.fingerprints import fingerprint
from nndoctor.report.text import plural
from nndoctor.requests import ScanRequest

VERSION = 1
NOT_EXAMINED = "ND001"  # says that something could not be examined, which no list of findings makes good


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One old finding, or several that read alike."""

    path: str  # relative to the folder of the baseline
    code: str
    text: str  # the line of the finding
    count: int
    advice: bool  # found with --pedantic only
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """The old findings by fingerprint, and the paths whose scan they come from."""

    file: Path
    scanned: frozenset[Path] = frozenset()
    entries: Mapping[str, Entry] = field(default_factory=dict)


def read_baseline(file: Path, may_be_new: bool) -> Baseline:
    """The baseline in a file; raises UserError for one that is none, or is not there and may not be new."""
    file = _absolute(file)
    if not file.parent.is_dir():
        raise UserError(f"the folder {shown(file.parent)} of the baseline {file.name} does not exist: make it first")
    if may_be_new and not file.exists():
        return Baseline(file)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError("a later version")
        entries = [_entry(row) for row in document["findings"]]
        scanned = frozenset(_absolute(file.parent / path) for path in document["scanned"])
    except FileNotFoundError:
        raise UserError(f"there is no baseline {shown(file)} yet: --update-baseline makes it") from None
    except OSError as error:
        raise UserError(f"cannot read the baseline {shown(file)}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{shown(file)} is no baseline of this version: delete it, and make one with --update-baseline"
        ) from None
    return Baseline(file, scanned, {entry.fingerprint: entry for entry in entries})


def without_old(report: Report, baseline: Baseline, request: ScanRequest) -> Report:
    """The report with its new findings only, and notes on the old and on entries that are stale."""
    left = Counter({print_: entry.count for print_, entry in baseline.entries.items()})
    new = []
    for finding in report.findings:
        print_ = _entry_of(finding, baseline, request).fingerprint
        if left[print_] > 0 and finding.code != NOT_EXAMINED:
            left[print_] -= 1
        else:
            new.append(finding)
    stale = sum(left[entry.fingerprint] for entry in _looked_for(baseline, report, request))
    old = len(report.findings) - len(new)
    notes = [f"{plural(old, 'finding')} of {baseline.file.name} left out"] if old else []
    if stale:
        entries = "1 of its findings is" if stale == 1 else f"{stale} of its findings are"
        notes.append(f"{baseline.file.name} is stale: {entries} no longer found; --update-baseline takes them out")
    return replace(report, findings=tuple(new), notes=(*report.notes, *notes))


def updated(report: Report, baseline: Baseline, request: ScanRequest) -> Baseline:
    """With the findings of the report, and without the entries that are stale."""
    found: dict[str, Entry] = {}
    for finding in report.findings:
        if finding.code != NOT_EXAMINED:
            entry = _entry_of(finding, baseline, request)
            known = found.get(entry.fingerprint)
            found[entry.fingerprint] = replace(entry, count=known.count + 1 if known else 1)
    looked_for = {entry.fingerprint for entry in _looked_for(baseline, report, request)}
    for print_, entry in baseline.entries.items():
        if print_ not in looked_for:
            found[print_] = max(entry, found.get(print_, entry), key=lambda it: it.count)
    return replace(baseline, scanned=_outermost(baseline.scanned | _scanned(request)), entries=found)


def write_baseline(baseline: Baseline) -> None:
    """Write the file: sorted, an entry on a line, so that a diff shows what came and what went."""
    rows = ",\n    ".join(json.dumps(_row(entry), ensure_ascii=False) for entry in sorted(baseline.entries.values()))
    findings = f"[\n    {rows}\n  ]" if rows else "[]"
    scanned = json.dumps(sorted(_relative(path, baseline) for path in baseline.scanned), ensure_ascii=False)
    text = f'{{\n  "version": {VERSION},\n  "scanned": {scanned},\n  "findings": {findings}\n}}\n'
    replace_file(baseline.file, text)


def total(baseline: Baseline) -> int:
    """How many findings it lists."""
    return sum(entry.count for entry in baseline.entries.values())


def _entry(row: Any) -> Entry:
    return Entry(
        path=str(row["path"]),
        code=str(row["code"]),
        text=str(row["text"]),
        count=int(row.get("count", 1)),
        advice=bool(row.get("advice", False)),
        fingerprint=str(row["fingerprint"]),
    )


def _row(entry: Entry) -> dict[str, Any]:
    """What is written of an entry; what most have in common is left out."""
    row = asdict(entry)
    if entry.count == 1:
        del row["count"]
    if not entry.advice:
        del row["advice"]
    return row


def _entry_of(finding: Finding, baseline: Baseline, request: ScanRequest) -> Entry:
    location = finding.location
    path = _relative(request.root / location.path, baseline) if location is not None else ""
    text = " ".join((finding.source_line or finding.message).split())
    return Entry(path, finding.code, text, 1, finding.is_advice, fingerprint(finding, path))


def _relative(path: Path, baseline: Baseline) -> str:
    return Path(os.path.relpath(path, baseline.file.parent)).as_posix()


def _looked_for(baseline: Baseline, report: Report, request: ScanRequest) -> Iterator[Entry]:
    """The entries that this scan would have found again, were they still there, and those whose file is gone."""
    paths = {*report.coverage.asked} - {*_unexamined(report)} if _complete(report, baseline, request) else ()
    asked = {_relative(request.root / path, baseline) for path in paths}
    for entry in baseline.entries.values():
        ignored = entry.code in request.ignore or (request.select is not None and entry.code not in request.select)
        if (ignored and entry.code in rule_names()) or (entry.advice and not request.pedantic):
            continue
        if entry.path in asked or not (baseline.file.parent / entry.path).exists():
            yield entry


def _complete(report: Report, baseline: Baseline, request: ScanRequest) -> bool:
    """Whether all was scanned that the baseline comes from: a finding may need another file, the one that calls."""
    if request.only is not None or request.stdin is not None or any(it.location is None for it in report.failures):
        return False
    return _outermost(baseline.scanned | _scanned(request)) <= _scanned(request)


def _unexamined(report: Report) -> Iterator[str]:
    """The files that were not examined to their end."""
    places = [failure.location for failure in report.failures]
    places += [finding.location for finding in report.findings if finding.code == NOT_EXAMINED]
    return (place.path for place in places if place is not None)


def _scanned(request: ScanRequest) -> frozenset[Path]:
    return frozenset(map(_absolute, request.paths))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps the `..` in a path


def _outermost(paths: Iterable[Path]) -> frozenset[Path]:
    """Without the paths that lie below another of them."""
    kept: list[Path] = []
    for path in sorted(paths, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return frozenset(kept)
