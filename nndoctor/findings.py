"""What both passes produce and every reporter draws: Finding, its evidence, and the Report that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nndoctor.exhibits import Exhibit

Figure = float | int | str | bool | None
"""One measured value as it is reported."""


class Severity(str, Enum):
    """How bad it is if the finding is right."""

    ERROR = "error"  # training is wrong
    WARNING = "warning"  # training, or a reported number, is probably worse or misleading
    INFO = "info"  # advice

    @property
    def rank(self) -> int:
        """0 for the gravest, so that sorting puts errors first."""
        return list(Severity).index(self)


class Confidence(str, Enum):
    """How sure the doctor is."""

    CERTAIN = "certain"  # holds on every path
    LIKELY = "likely"  # holds on some path, or rests on one documented assumption
    POSSIBLE = "possible"  # advice, shown with --pedantic


def is_advice(severity: Severity, confidence: Confidence) -> bool:
    """Whether a finding like that is shown with --pedantic only."""
    return severity is Severity.INFO or confidence is Confidence.POSSIBLE


@dataclass(frozen=True, slots=True)
class Location:
    """A span of source text; lines and columns count from 1, the end column is exclusive."""

    path: str  # relative to the working directory, with forward slashes
    line: int
    column: int = 1
    end_line: int | None = None
    end_column: int | None = None
    cell: int | None = None  # notebooks: the cell counted from 1; `line` then counts within the cell

    @property
    def order(self) -> tuple[str, int, int, int]:
        """Sort key: path, cell, line, column."""
        return (self.path, self.cell or 0, self.line, self.column)

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.path}:{self.line}:{self.column}"
        return f"{self.path}:cell {self.cell}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One step of the path that proves a finding: a place in the code and what happens there."""

    message: str
    location: Location | None = None
    source_line: str | None = None  # the text of the line at `location`


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of text: `text` takes the place of the span, which is empty where it is inserted."""

    location: Location
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that treat a finding, to be made together; `safe` if they cannot change what the code was meant to do."""

    message: str  # what it does, in the imperative
    edits: tuple[Edit, ...]
    safe: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, with all a reader needs to check it and to act on it."""

    code: str
    name: str
    severity: Severity
    confidence: Confidence
    message: str  # one line, lower case, states the fact with the user's own names
    treatment: str
    location: Location | None = None  # none only where a probe cannot tell the line
    source_line: str | None = None
    evidence: tuple[Evidence, ...] = ()
    measurements: Mapping[str, Figure] = field(default_factory=dict)
    fix: Fix | None = None
    rank: int = 0  # among the causes of a check-up, from 1 for the one to treat first

    @property
    def cause(self) -> str:
        """What a probe takes to be wrong, in a few words for machines; empty where it only measured."""
        return str(self.measurements.get("cause", ""))

    @property
    def is_advice(self) -> bool:
        """Whether it is shown with --pedantic only."""
        return is_advice(self.severity, self.confidence)

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: severity, then rank among the causes, then place, then code."""
        place = self.location.order if self.location else ("", 0, 0, 0)
        return (self.severity.rank, self.rank, place, self.code)


@dataclass(frozen=True, slots=True)
class Series:
    """Measured values: a curve, figures of named things such as layers, or a matrix as a list of rows."""

    values: tuple[float, ...] | tuple[tuple[float, ...], ...]
    label: str
    x: tuple[float, ...] | None = None  # positions of the values, or of a matrix's columns; for instance learning rates
    x_label: str = "step"
    log_x: bool = False
    references: Mapping[str, float] = field(default_factory=dict)  # horizontal lines, for instance ln C
    y_label: str = ""  # the quantity; curves of a probe that share it are drawn on the same axes
    names: tuple[str, ...] = ()  # what each value belongs to, for instance a layer; then it is no curve
    marks: Mapping[str, float] = field(default_factory=dict)  # vertical lines, for instance the user's rate
    band: tuple[float, float] | None = None  # the stretch of x that is as it should be


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe measured, whether or not anything was wrong."""

    code: str
    name: str
    status: str  # "ok", "finding", "failed", "skipped"
    summary: str  # one line with the figure and what was expected of it
    measurements: Mapping[str, Figure] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    seconds: float = 0.0
    steps: int = 0  # forward and backward passes that it ran
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds; like `seconds` they differ from run to run


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be examined, in one sentence that says what to do."""

    message: str
    code: str | None = None  # ND001, or the code of the probe
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a scan was asked to examine, and what of it could not or need not be examined."""

    asked: tuple[str, ...] = ()  # reported paths of the files, those that an import leads to left out
    without_torch: int = 0  # files of these that neither name torch nor import what does
    unparsed: int = 0  # files, the imported ones included
    cells: int = 0  # of notebooks, that could not be parsed
    unchanged: int = 0  # files left out because only changed ones were asked for


@dataclass(frozen=True, slots=True)
class Report:
    """One check-up."""

    command: str  # "scan" or "probe"
    target: str  # what the user named on the command line
    findings: tuple[Finding, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()  # facts about the check-up itself, for instance which loss was used and why
    files: int = 0  # files examined by the static pass
    coverage: Coverage = Coverage()
    seconds: float = 0.0
    batch: tuple[Exhibit, ...] = ()  # a few examples as the network is given them
    filters: tuple[Exhibit, ...] = ()  # of the first layer

    def count(self, severity: Severity) -> int:
        """Number of findings of that severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def worst(self) -> dict[str, Severity]:
        """The gravest severity of the findings of each code."""
        ordered = sorted(self.findings, key=lambda finding: finding.severity.rank, reverse=True)
        return {finding.code: finding.severity for finding in ordered}
