"""The JUnit report: test results in XML, which most services of continuous integration show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from nndoctor.findings import Failure, Finding, ProbeResult, Report
from nndoctor.report.text import REPLACEMENT, printable

# What `printable` leaves and XML 1.0 has no way to write.
NO_XML = re.compile("[\ufffe\uffff]")


def render(report: Report) -> str:
    """One suite: a failed test for each finding, an error for each failure, a passed or skipped test for each probe."""
    cases = list(_cases(report))
    name = f"nndoctor {report.command}"
    counts = {
        "name": name,
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "time": f"{report.seconds:.3f}",
    }
    suites = Element("testsuites", counts)
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = SubElement(suites, "testsuite", {**counts, "skipped": str(skipped)})
    suite.extend(cases)
    if report.notes:
        SubElement(suite, "system-out").text = "\n".join(map(_line, report.notes))
    ElementTree.indent(suites)
    # ASCII with references for the rest: right in whatever encoding the stream has
    document: bytes = ElementTree.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _cases(report: Report) -> Iterator[Element]:
    """At least one: services take a suite without tests for a broken one."""
    told = {finding.code for finding in report.findings} | {failure.code for failure in report.failures}
    yield from (_finding(finding, report.target) for finding in report.findings)
    yield from (_failure(failure, report.target) for failure in report.failures)
    yield from (_probe(probe, report.target) for probe in report.probes if probe.code not in told)
    if not (told or report.probes):
        yield _case("nothing to report", report.target)


def _finding(finding: Finding, target: str) -> Element:
    place = str(finding.location or target)
    case = _case(f"{finding.code} {finding.name} at {place}", finding.location.path if finding.location else target)
    kind = f"{finding.severity.value}, {finding.confidence.value}"
    failure = SubElement(case, "failure", {"type": kind, "message": _line(finding.message)})
    steps = (f"{step.location}: {step.message}" if step.location else step.message for step in finding.evidence)
    failure.text = "\n".join(map(_line, (f"{place}: {finding.message}", *steps, finding.treatment)))
    return case


def _failure(failure: Failure, target: str) -> Element:
    place = str(failure.location or target)
    name = f"{failure.code} at {place}" if failure.code else place
    case = _case(name, failure.location.path if failure.location else target)
    SubElement(case, "error", {"type": "could not be examined", "message": _line(failure.message)})
    return case


def _probe(probe: ProbeResult, target: str) -> Element:
    case = _case(f"{probe.code} {probe.name}", target)
    case.set("time", f"{probe.seconds:.3f}")
    if probe.status == "skipped":
        SubElement(case, "skipped", {"message": _line(probe.summary)})
    else:
        SubElement(case, "system-out").text = _line(probe.summary)
    return case


def _case(name: str, group: str) -> Element:
    return Element("testcase", {"name": _line(name), "classname": _line(group), "time": "0.000"})


def _line(text: str) -> str:
    return NO_XML.sub(REPLACEMENT, printable(" ".join(text.split())))
