"""Differential diagnosis: one finding a cause, the right one first, and what becomes of the findings of the scan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import zoo

from nndoctor.catalog import rule_names
from nndoctor.findings import Confidence, Failure, Finding, Location, ProbeResult, Report, Severity
from nndoctor.probe.causes import CAUSES, Stage, stated_by
from nndoctor.probe.differential import diagnose
from nndoctor.probe.refuting import REFUTATIONS, refutation

FILE = "train.py"
RUN = {FILE: tuple(range(1, 50))}


def seen(code: str, cause: str, line: int = 10, **options: Any) -> Finding:
    """What a probe found at a line of the user's file."""
    defaults: dict[str, Any] = {
        "severity": Severity.WARNING,
        "confidence": Confidence.LIKELY,
        "message": f"{cause} at {line}",
        "treatment": "Do it.",
        "source_line": "    x = f(x)",
        "measurements": {"cause": cause},
    }
    return Finding(code, rule_names()[code], location=Location(FILE, line), **(defaults | options))


def read(code: str, line: int = 10, **options: Any) -> Finding:
    """What the scan found."""
    return replace(seen(code, "", line, message=f"{code} says so", **options), measurements={})


def measured(code: str, status: str = "ok", **figures: Any) -> ProbeResult:
    named = {name if name == "off_diagonal" else name.replace("_", " "): value for name, value in figures.items()}
    return ProbeResult(code, rule_names()[code], status, "", named)


def diagnosed(*findings: Finding, scan: tuple[Finding, ...] = (), probes: tuple[ProbeResult, ...] = ()) -> Report:
    return diagnose(Report("probe", "m", findings, probes), scan, RUN)


def evidence(finding: Finding) -> str:
    return "\n".join(step.message for step in finding.evidence)


# ------------------------------------------------------------------------------------------------- the table


def test_no_cause_explains_itself_by_any_way() -> None:
    def symptoms(cause: str, passed: tuple[str, ...]) -> None:
        assert cause not in passed, f"{' explains '.join((*passed, cause))}"
        for symptom in CAUSES[cause].explains if cause in CAUSES else ():
            symptoms(symptom, (*passed, cause))

    for cause in CAUSES:
        symptoms(cause, ())


def test_the_table_knows_every_cause_and_rule_that_it_speaks_of() -> None:
    assert {symptom for cause in CAUSES.values() for symptom in cause.explains} <= set(CAUSES)
    assert {code for cause in CAUSES.values() for code in cause.scan} <= set(rule_names())
    assert {*REFUTATIONS} <= {code for code in rule_names() if stated_by(code)}


def test_the_table_knows_the_causes_of_the_zoo() -> None:
    assert set(zoo.CAUSES) == set(zoo.SICK)
    assert set(zoo.CAUSES.values()) <= set(CAUSES)


# ------------------------------------------------------------------------------------------------- one a cause


def test_symptoms_become_the_evidence_of_their_cause() -> None:
    (finding,) = diagnosed(
        seen("NDP03", "only the bias learns", 1, severity=Severity.ERROR, confidence=Confidence.CERTAIN),
        seen("NDP08", "zero gradient", 20),
        seen("NDP09", "dead units", 30),
    ).findings
    assert (finding.code, finding.cause, finding.severity) == ("NDP09", "dead units", Severity.ERROR)
    assert "this explains NDP03 overfit-batch: only the bias learns at 1" in evidence(finding)
    assert [step.location for step in finding.evidence] == [Location(FILE, 1), Location(FILE, 20)]


def test_a_symptom_of_a_symptom_goes_to_the_first_cause() -> None:
    (finding,) = diagnosed(
        seen("NDP06", "rate too low"),
        seen("NDP08", "zero gradient"),
        seen("NDP03", "no signal"),
        seen("NDP09", "constant"),
    ).findings
    assert finding.cause == "constant"
    assert len(finding.evidence) == 3


def test_advice_explains_no_warning() -> None:
    advice = seen("NDP15", "sum instead of mean", severity=Severity.INFO, confidence=Confidence.POSSIBLE)
    assert len(diagnosed(advice, seen("NDP06", "rate too high")).findings) == 2
    (finding,) = diagnosed(seen("NDP15", "sum instead of mean"), seen("NDP06", "rate too high")).findings
    assert finding.cause == "sum instead of mean"


def test_probes_that_agree_are_one_finding_under_the_surest_name() -> None:
    (finding,) = diagnosed(
        seen("NDP03", "not finite", 10), seen("NDP08", "not finite", 12, confidence=Confidence.CERTAIN)
    ).findings
    assert (finding.code, finding.confidence) == ("NDP08", Confidence.CERTAIN)
    assert evidence(finding) == "NDP03 overfit-batch agrees: not finite at 10"


def test_what_only_names_the_class_adds_no_place() -> None:
    (finding,) = diagnosed(
        seen("NDP03", "dead outputs", 5, source_line="class Net(nn.Module):"), seen("NDP03", "ReLU on the outputs", 9)
    ).findings
    assert finding.location == Location(FILE, 9)
    assert [step.location for step in finding.evidence] == [None]


def test_two_faults_of_one_probe_stay_two() -> None:
    report = diagnosed(seen("NDP08", "never used", 10), seen("NDP08", "never used", 11))
    assert [finding.location for finding in report.findings] == [Location(FILE, 10), Location(FILE, 11)]
    assert not any(finding.evidence for finding in report.findings)


def test_causes_are_ranked_by_severity_then_by_where_they_act() -> None:
    report = diagnosed(
        seen("NDP10", "dropout in eval mode", 1),
        seen("NDP08", "never used", 2),
        seen("NDP11", "sorted labels", 3),
        seen("NDP04", "batch mixed by view", 4, severity=Severity.ERROR),
    )
    order = [finding.cause for finding in report.findings]
    assert order == ["batch mixed by view", "sorted labels", "never used", "dropout in eval mode"]
    assert sorted(report.findings, key=lambda finding: finding.order) == list(report.findings)
    assert [CAUSES[cause].stage for cause in order[1:]] == [Stage.DATA, Stage.GRAPH, Stage.EVALUATION]


def test_a_doubt_comes_with_what_would_settle_it() -> None:
    likely, certain = (
        diagnosed(seen("NDP06", "rate too high", confidence=confidence)).findings[0].treatment
        for confidence in (Confidence.LIKELY, Confidence.CERTAIN)
    )
    assert likely.startswith("Do it. In doubt, train a few hundred steps with both")
    assert certain == "Do it."


def test_a_finding_without_a_cause_stands_for_itself() -> None:
    report = diagnosed(seen("NDP13", ""), seen("NDP19", ""))
    assert [finding.code for finding in report.findings] == ["NDP13", "NDP19"]


def test_probes_that_failed_on_what_is_found_are_no_failures() -> None:
    outside = seen("NDP11", "label outside the outputs")
    outside = replace(outside, measurements={**outside.measurements, "raised": "IndexError: Target 10"})
    failures = (Failure("IndexError: Target 10 at a.py:3", "NDP01"), Failure("KeyError: x", "NDP02"))
    report = diagnose(Report("probe", "m", (outside,), failures=failures), (), RUN)
    assert [failure.code for failure in report.failures] == ["NDP02"]


# ------------------------------------------------------------------------------------------------- the scan


def test_the_scan_is_confirmed_by_a_probe_and_makes_it_certain() -> None:
    (finding,) = diagnosed(seen("NDP08", "never used", 10), scan=(read("ND408", 10),)).findings
    assert (finding.code, finding.confidence) == ("NDP08", Confidence.CERTAIN)
    assert evidence(finding) == "this confirms ND408 layer-never-used of the scan: ND408 says so"


def test_the_scan_confirms_the_finding_at_its_own_place() -> None:
    first, second = diagnosed(
        seen("NDP08", "never used", 10), seen("NDP08", "never used", 11), scan=(read("ND408", 11),)
    ).findings
    assert {first.location: len(first.evidence), second.location: len(second.evidence)} == {
        Location(FILE, 10): 0,
        Location(FILE, 11): 1,
    }


def test_a_cause_that_only_the_scan_names_takes_the_symptoms() -> None:
    (finding,) = diagnosed(seen("NDP03", "only the bias learns"), scan=(read("ND412"),)).findings
    assert (finding.code, finding.cause) == ("ND412", "same units")
    assert "this explains NDP03" in evidence(finding)


def test_code_that_was_not_run_explains_nothing() -> None:
    elsewhere = read("ND412", 400)
    report = diagnosed(seen("NDP03", "only the bias learns"), scan=(elsewhere,))
    assert {finding.code for finding in report.findings} == {"NDP03", "ND412"}


def test_the_scan_is_withdrawn_where_a_figure_contradicts_it() -> None:
    quiet = measured("NDP10", variance_with_dropout_by_that_without=1.02)
    report = diagnosed(scan=(read("ND403", 7),), probes=(quiet,))
    assert report.findings == ()
    (note,) = report.notes
    assert note.startswith("ND403 dropout-before-batchnorm at train.py:7, found by the scan, is withdrawn: NDP10")
    assert "1.02 times the variance" in note


@pytest.mark.parametrize(
    ("line", "shift"), [(7, 1.5), (7, None), (400, 1.0)], ids=["between", "not measured", "not run"]
)
def test_the_scan_stands_where_nothing_was_settled(line: int, shift: float | None) -> None:
    probe = measured("NDP10", variance_with_dropout_by_that_without=shift)
    report = diagnosed(scan=(read("ND403", line),), probes=(probe,))
    assert [finding.code for finding in report.findings] == ["ND403"]
    assert report.notes == ()


def test_advice_of_the_scan_is_shown_only_where_a_probe_confirms_it() -> None:
    advice = read("ND414", 5, severity=Severity.INFO, confidence=Confidence.POSSIBLE)
    assert diagnosed(scan=(advice,)).findings == ()
    (finding,) = diagnosed(seen("NDP09", "vanishing", 5), scan=(advice,)).findings
    assert "this confirms ND414" in evidence(finding)


WELL: dict[str, dict[str, Any]] = {
    "ND101": {"range_of_the_outputs": "free"},
    "ND305": {"parameters": 6, "frozen": 2, "with_a_gradient": 4},
    "ND306": {"drops_in_eval_mode": False},
    "ND403": {"variance_with_dropout_by_that_without": 1.0},
    "ND409": {"loss_with_running_statistics": 0.5, "loss_with_batch_statistics": 0.5},
    "ND415": {"influence_of_the_future": 0.0, "target": "the next input"},
    "ND502": {"off_diagonal": 0.0},
    "ND503": {"smaller_batches_fail": False, "batch": 32},
    "ND608": {"mean_input": 0.02, "deviation_of_the_inputs": 1.1},
    "ND610": {"target": "the next input"},
}
ILL: dict[str, dict[str, Any]] = {
    "ND101": {"range_of_the_outputs": "softmax"},
    "ND305": {"parameters": 6, "frozen": 2, "with_a_gradient": 3},
    "ND306": {"drops_in_eval_mode": True},
    "ND403": {"variance_with_dropout_by_that_without": 2.4},
    "ND409": {"loss_with_running_statistics": 0.9, "loss_with_batch_statistics": 0.5},
    "ND415": {"influence_of_the_future": 0.2, "target": "the next input"},
    "ND502": {"off_diagonal": 0.3},
    "ND503": {"smaller_batches_fail": True, "batch": 32},
    "ND608": {"mean_input": 120.0, "deviation_of_the_inputs": 64.0},
    "ND610": {"target": "the inputs themselves"},
}


@pytest.mark.parametrize("code", WELL)
def test_a_rule_is_refuted_by_healthy_figures_only(code: str) -> None:
    probe = REFUTATIONS[code][0]
    assert f"{probe} {rule_names()[probe]} measured" in (
        refutation(code, {probe: measured(probe, **WELL[code])}) or "nothing"
    )
    assert refutation(code, {probe: measured(probe, **ILL[code])}) is None
    assert refutation(code, {probe: measured(probe, "skipped")}) is None
    assert refutation(code, {}) is None
