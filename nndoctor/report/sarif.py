"""The SARIF 2.1.0 report, for code scanning services and for the editors that read it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from nndoctor import __version__
from nndoctor.catalog import Rule, load_rule, rule_names
from nndoctor.findings import Evidence, Failure, Figure, Finding, Fix, Location, Report, Severity
from nndoctor.report.fingerprints import fingerprints
from nndoctor.report.json import finite
from nndoctor.report.output import COULD_NOT_RUN, exit_status
from nndoctor.report.places import place_of
from nndoctor.report.text import printable

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "nndoctorRuleAndLine/v1"  # a new number when fingerprints are made in another way
ROOT = "%SRCROOT%"  # the folder from which paths count, as services call it
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
LINK = re.compile(r"\[(?=[^\]]*\]\()")  # `heads[i](x)` in a message is no link

Node = dict[str, Any]


def render(report: Report) -> str:
    """One SARIF log with one run, the same for the same report."""
    codes = sorted({finding.code for finding in report.findings})
    names = {finding.code: finding.name for finding in report.findings}
    prints = fingerprints(report.findings)
    run = {
        "tool": {
            "driver": {
                "name": "nndoctor",
                "semanticVersion": __version__,
                "rules": [_rule(code, names[code]) for code in codes],
            }
        },
        "automationDetails": {"id": f"nndoctor/{report.command}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "results": [_result(*pair, codes) for pair in zip(report.findings, prints, strict=True)],
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def _rule(code: str, name: str) -> Node:
    if code not in rule_names():
        return {"id": code, "name": printable(name)}
    rule = load_rule(code)
    return {
        "id": code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": _prose(rule.why)},
        "help": {"text": f"{_prose(rule.why)}\n\n{_prose(rule.treatment)}", "markdown": _help(rule)},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": ["correctness", "pytorch"]},
    }


def _help(rule: Rule) -> str:
    parts = [_prose(rule.why), f"**What to do.** {_prose(rule.treatment)}"]
    for example in rule.bad[:1]:
        parts.append(f"**Example.** {example.title}\n\n```python\n{example.code.strip()}\n```")
    return "\n\n".join([*parts, f"**Source.** {rule.source}"])


def _invocation(report: Report) -> Node:
    failed = exit_status(report, Severity.ERROR, exit_zero=True) == COULD_NOT_RUN
    notifications = [_notification(failure) for failure in report.failures]
    notifications += [{"level": "note", "message": _message(note)} for note in report.notes]
    return {"executionSuccessful": not failed, "toolExecutionNotifications": notifications}


def _notification(failure: Failure) -> Node:
    notification: Node = {"level": "error", "message": _message(failure.message)}
    if failure.code:
        notification["descriptor"] = {"id": failure.code}
    if failure.location is not None:
        notification["locations"] = [_location(Evidence(failure.message, failure.location))]
    return notification


def _result(finding: Finding, fingerprint: str, codes: Sequence[str]) -> Node:
    measured = [step.message for step in finding.evidence if step.location is None]
    figures = {printable(name): _figure(value) for name, value in finding.measurements.items()}
    place = place_of(finding)
    result: Node = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": LEVELS[finding.severity],
        "message": _message(finding.message, *measured, finding.treatment),
        "locations": [_location(place, with_message=False)] if place.location else [],
        "partialFingerprints": {FINGERPRINT: fingerprint},
        "properties": {"confidence": finding.confidence.value, "measurements": figures},
    }
    steps = [step for step in finding.evidence if step.location is not None]
    if steps:
        flow = [*steps, place] if finding.location else steps
        locations = [{"location": _location(step)} for step in flow]
        result["codeFlows"] = [{"threadFlows": [{"locations": locations}]}]
    if finding.fix is not None and all(edit.location.cell is None for edit in finding.fix.edits):
        result["fixes"] = [_fix(finding.fix)]
    return result


def _fix(fix: Fix) -> Node:
    changes: dict[str, list[Node]] = {}
    for edit in fix.edits:
        replacement = {"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.text}}
        changes.setdefault(edit.location.path, []).append(replacement)
    return {
        "description": _message(fix.message),
        "artifactChanges": [
            {"artifactLocation": _artifact(path), "replacements": edits} for path, edits in changes.items()
        ],
        "properties": {"safe": fix.safe},
    }


def _location(step: Evidence, with_message: bool = True) -> Node:
    assert step.location is not None
    physical: Node = {"artifactLocation": _artifact(step.location.path)}
    location: Node = {"physicalLocation": physical}
    if step.location.cell is not None:  # a region would count lines of the notebook's JSON, which nobody looks at
        name = f"cell {step.location.cell}, line {step.location.line}"
        location["logicalLocations"] = [{"fullyQualifiedName": name}]
    else:
        physical["region"] = _region(step.location)
        if step.source_line is not None and step.location.end_line in (None, step.location.line):
            snippet = {"text": printable(step.source_line.rstrip())}
            physical["contextRegion"] = {"startLine": step.location.line, "snippet": snippet}
    return {**location, "message": _message(step.message)} if with_message else location


def _region(location: Location) -> Node:
    ends = {"endLine": location.end_line, "endColumn": location.end_column}
    known = {name: value for name, value in ends.items() if value is not None}
    return {"startLine": location.line, "startColumn": location.column, **known}


def _artifact(path: str) -> Node:
    if ABSOLUTE.match(path):
        return {"uri": "file:///" + quote(path.lstrip("/"), safe="/:", errors="replace")}
    return {"uri": quote(path, errors="replace"), "uriBaseId": ROOT}


def _figure(value: Figure) -> Figure:
    return printable(value) if isinstance(value, str) else value


def _message(*paragraphs: str) -> Node:
    texts = (printable(_prose(paragraph)) for paragraph in paragraphs if paragraph.strip())
    return {"text": LINK.sub(r"\\[", "\n\n".join(texts))}


def _prose(text: str) -> str:
    return " ".join(text.split())
