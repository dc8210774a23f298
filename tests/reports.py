"""Reports made by hand, for the tests of the formats: healthy ones, and one in which every text is hostile."""

from __future__ import annotations

from dataclasses import replace

from nndoctor.findings import (
    Confidence,
    Edit,
    Evidence,
    Failure,
    Finding,
    Fix,
    Location,
    ProbeResult,
    Report,
    Severity,
)

SOFTMAX_TWICE = Finding(
    code="ND101",
    name="softmax-into-cross-entropy",
    severity=Severity.ERROR,
    confidence=Confidence.CERTAIN,
    message="`outputs` is a softmax (model.py:31)",
    treatment="Return `self.head(x)`\nfrom Net.forward.",
    location=Location("src/train.py", 60, 26, 60, 33),
    source_line="        loss = criterion(outputs, y)",
    evidence=(
        Evidence("softmax here", Location("model.py", 31, 16), "        return F.softmax(self.head(x), dim=1)"),
        Evidence("returned here", Location("src/train.py", 58, 9), "        outputs = net(x)"),
    ),
    fix=Fix("remove the softmax", (Edit(Location("model.py", 31, 16, 31, 46), "self.head(x)"),), safe=True),
)
BATCH_MIXED = Finding(
    code="NDP04",
    name="gradient-isolation",
    severity=Severity.WARNING,
    confidence=Confidence.LIKELY,
    message="output 0 depends on examples 1 to 7",
    treatment="x.permute(1, 0, 2)",
    evidence=(
        Evidence("first operation that mixes them", Location("model.py", 44, 9), "    x = x.view(T, B, D)"),
        Evidence("off-diagonal influence 0.61 of the diagonal"),
    ),
    measurements={"influence": 0.61234, "worst": float("inf")},
)
IN_A_CELL = replace(
    SOFTMAX_TWICE,
    severity=Severity.INFO,
    location=Location("a.ipynb", 2, 7, 2, 9, cell=4),
    evidence=(),
    fix=Fix("remove it", (Edit(Location("a.ipynb", 2, 7, 2, 9, cell=4), "x"),), safe=True),
)
PROBES = (
    ProbeResult("NDP01", "init-loss", "ok", "2.31, expected ln 10", seconds=1.5),
    ProbeResult("NDP04", "gradient-isolation", "finding", "0.61"),
    ProbeResult("NDP06", "lr-range", "skipped", "no time left"),
    ProbeResult("NDP03", "overfit-batch", "failed", "it raised"),
)
FAILURES = (
    Failure("cannot parse it", "ND001", Location("bad.py", 3, 7)),
    Failure("NDP03 raised: lower the batch size", "NDP03"),
)
SCAN = Report("scan", "src", (SOFTMAX_TWICE, IN_A_CELL), files=4)
PROBE = Report("probe", "train.py:net", (BATCH_MIXED,), PROBES, FAILURES, ("loss: `nn.MSELoss`",), seconds=41.3)
CLEAN = Report("scan", "src", files=4)

# Escapes, markup of consoles, HTML, XML and Markdown, commands, separators, and what no encoding or XML can hold.
NASTY = (
    "\x1b]0;t\x07[bold]<b>&amp;]]>|`*_#@me $x$\r\n::error::x,y:%0A##[add-mask]z\n# h\u202e\u2028\x00\ud800\ufffe\uffff"
)
NASTY_REPORT = Report(
    "probe",
    NASTY,
    (
        Finding(
            "ND101",
            NASTY,
            Severity.ERROR,
            Confidence.CERTAIN,
            NASTY,
            NASTY,
            Location(NASTY, 1, 1, 1, 2),
            NASTY,
            (Evidence(NASTY, Location(NASTY, 2), NASTY), Evidence(NASTY)),
            {NASTY: NASTY},
            Fix(NASTY, (Edit(Location(NASTY, 1, 1, 1, 2), "x"),), safe=False),
        ),
    ),
    (ProbeResult("NDP01", NASTY, "ok", NASTY), ProbeResult("NDP02", NASTY, "skipped", NASTY)),
    (Failure(NASTY, "NDP06"), Failure(NASTY, "ND001", Location(NASTY, 1))),
    (NASTY,),
)
OBEYED = "\x1b\x07\x00\r\u202e\u2028"
