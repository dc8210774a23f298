"""The static pass from request to report: discovery, the run of each part, the rules, suppressions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.findings import Confidence, Coverage, Evidence, Failure, Finding, Location, Report, Severity, is_advice
from nndoctor.requests import ScanRequest
from nndoctor.scan.disk import Asked, Disk
from nndoctor.scan.dispatch import DEBUG, verdicts
from nndoctor.scan.files import discover, reported_path
from nndoctor.scan.survey import Part, survey
from nndoctor.scan.verdict import Examined, Verdict, combined

if TYPE_CHECKING:
    from nndoctor.scan.program import Program
    from nndoctor.scan.rules.registry import Draft, Rule
    from nndoctor.scan.source import SourceFile
    from nndoctor.scan.values import Site


def scan(request: ScanRequest) -> Report:
    """Examine the files that a request names."""
    started = time.perf_counter()
    disk = Disk()
    parts, coverage = _parts(request, disk)
    verdict = combined(verdicts(parts, request, disk, examine))
    findings = [*verdict.findings, *_hygiene(verdict, request)]
    unparsed = sum(not file.parsed for file in verdict.files)
    return Report(
        command="scan",
        target=" ".join(str(path) for path in request.paths) or (request.stdin_filename or "-"),
        findings=tuple(sorted(findings, key=lambda finding: finding.order)),
        failures=verdict.failures,
        files=len(verdict.files) or len(coverage.asked),
        coverage=replace(coverage, unparsed=unparsed, cells=sum(file.bad_cells for file in verdict.files)),
        seconds=time.perf_counter() - started,
    )


def _parts(request: ScanRequest, disk: Disk) -> tuple[tuple[Part, ...], Coverage]:
    """The files to interpret, and those that were asked for."""
    if request.stdin is not None:
        source = _from_stdin(request)
        return (Part((str(source.path),)),), Coverage((source.display,))
    found = discover(request.paths, request.base or request.root, request.exclude, request.force_exclude)
    paths = [path for path in found if request.only is None or os.path.realpath(path) in request.only]
    parts = survey(paths, request, disk)
    asked = tuple(reported_path(path, request.root) for path in paths)
    concerned = sum(len(part.files) for part in parts)
    return parts, Coverage(asked, len(paths) - concerned, unchanged=len(found) - len(paths))


def _from_stdin(request: ScanRequest) -> SourceFile:
    from nndoctor.scan.source import source_from_text

    return source_from_text(request.stdin or "", request.stdin_filename or "<stdin>")


def examine(part: Part, request: ScanRequest, disk: Disk) -> tuple[Verdict, Asked]:
    """Run the files of one part as a program and ask the rules; with what was asked of the disk for that."""
    from nndoctor.scan.interpreter.run import run_program
    from nndoctor.scan.parsing import collector_off
    from nndoctor.scan.project import Project
    from nndoctor.thresholds import choose

    choose(request.thresholds)
    project = Project(request.root, disk)
    project.add_texts(request.texts)
    if request.stdin is not None:
        project.add(_from_stdin(request))
    sources = [project.source(Path(file)) for file in part.files]
    with collector_off():
        program = run_program(project, sources)
    program.minimum_torch = request.minimum_torch
    findings = (*_findings(program, request), *_unparsed(sources, request))
    followed = dict.fromkeys((*sources, *program.sources))
    verdict = Verdict(
        findings,
        (*(failure for source in sources for failure in source.failures if source.module is None), *_crashed(program)),
        tuple(usage for source in followed for usage in source.suppressions.usages(source.quoted)),
        tuple(_examined(source, source in sources) for source in followed),
    )
    program.forget()
    return combined([verdict]), project.asked


def _examined(source: SourceFile, asked: bool) -> Examined:
    return Examined(source.display, asked, source.module is not None, len(source.failures) - (source.module is None))


def _unparsed(sources: Iterable[SourceFile], request: ScanRequest) -> Iterator[Finding]:
    """ND001 for files without a tree, and for single cells of a notebook, which only cost themselves."""
    from nndoctor.catalog import load_rule

    for source in sources if _wanted("ND001", request) else ():
        for failure in source.failures:
            rule = load_rule("ND001")
            severity = rule.severity if source.module is None else Severity.INFO
            line = source.quoted(failure.location) if failure.location is not None else None
            yield Finding(
                "ND001",
                rule.name,
                severity,
                Confidence.CERTAIN,
                failure.message,
                rule.treatment,
                failure.location,
                line,
            )


def _hygiene(verdict: Verdict, request: ScanRequest) -> Iterator[Finding]:
    """What is wrong with the comments that silence findings."""
    asked = {file.path for file in verdict.files if file.asked}
    usages = [usage for usage in verdict.usages if usage.directive.location.path in asked]
    if usages:
        from nndoctor.scan.hygiene import about_suppressions

        for finding in about_suppressions(usages, lambda code: _wanted(code, request) and not code.startswith("NDP")):
            if _wanted(finding.code, request) and (request.pedantic or not finding.is_advice):
                yield finding


def _crashed(program: Program) -> Iterator[Failure]:
    for source, error in program.errors:
        message = f"part of this file could not be examined ({error}); please report it with the file"
        yield Failure(message, None, Location(source.display, 1))
    for message in program.failures:
        yield Failure(f"{message}; please report it with the file")


def _findings(program: Program, request: ScanRequest) -> Iterator[Finding]:
    from nndoctor.scan.rules import RULES

    for function, codes in RULES.items():
        if not any(_wanted(code, request) for code in codes):
            continue
        for draft in _drafts(function, codes, program):
            if _is_hidden(draft, request):
                continue
            finding = _finding(draft)
            if _reported(finding, draft.site.source, request):
                yield finding


def _is_hidden(draft: Draft, request: ScanRequest) -> bool:
    """Whether nobody will see it, nor count it as silenced by a comment: then its place need not be computed."""
    from nndoctor.catalog import load_rule

    if not _wanted(draft.code, request):
        return True
    advice = is_advice(draft.severity or load_rule(draft.code).severity, draft.confidence)
    return advice and not request.pedantic and not draft.site.source.suppressions.count()


def _drafts(rule: Rule, codes: tuple[str, ...], program: Program) -> list[Draft]:
    """What a rule finds; one that goes wrong costs its own findings only."""
    try:
        return list(rule(program))
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        program.failures.append(f"{' and '.join(codes)} could not be examined ({type(error).__name__}: {error})")
        return []


def _wanted(code: str, request: ScanRequest) -> bool:
    return (request.select is None or code in request.select) and code not in request.ignore


def _reported(finding: Finding, source: SourceFile, request: ScanRequest) -> bool:
    """Whether a wanted finding is neither ignored, nor silenced, nor advice that nobody asked for."""
    if request.per_file_ignores and finding.code in _ignored_in(source, request):
        return False
    assert finding.location is not None
    silenced = source.suppressions.covers(finding.code, finding.name, finding.location)
    return not silenced and (request.pedantic or not finding.is_advice)


def _ignored_in(source: SourceFile, request: ScanRequest) -> frozenset[str]:
    """The codes that the configuration ignores in that file."""
    from nndoctor.scan.files import compiled

    path = os.path.relpath(source.path, request.base or request.root)
    matching = (codes for pattern, codes in request.per_file_ignores.items() if compiled([pattern]).match_file(path))
    return frozenset[str]().union(*matching)


def _finding(draft: Draft) -> Finding:
    from nndoctor.catalog import load_rule

    rule = load_rule(draft.code)
    location = draft.site.source.location(draft.site.node)
    repair = draft.repair
    return Finding(
        code=draft.code,
        name=rule.name,
        severity=draft.severity or rule.severity,
        confidence=draft.confidence,
        message=draft.message,
        treatment=draft.treatment or rule.treatment,
        location=location,
        source_line=draft.site.source.quoted(location),
        evidence=tuple(_evidence(site, message) for site, message in draft.evidence),
        fix=repair.fix() if repair is not None else None,
    )


def _evidence(site: Site, message: str) -> Evidence:
    location = site.source.location(site.node)
    return Evidence(message, location, site.source.quoted(location))
