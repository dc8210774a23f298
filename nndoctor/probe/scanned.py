"""What the static pass finds in the files of a check-up, read in a process of its own that nothing can hold up.

Started as `python -m nndoctor.probe.scanned ROOT IGNORED FILE...`; the process prints its findings as JSON.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from nndoctor.findings import Finding
from nndoctor.probe.environment import environment
from nndoctor.probe.messages import decode_findings, encode_findings

# A script takes a tenth of a second of CPU and the start of the process three; research code that calls deep into
# itself takes seconds.
LONGEST_CPU_S = 10
LONGEST_S = 30.0  # on the clock, for a busy machine


def scanned(files: Collection[str], root: Path, ignore: Collection[str]) -> tuple[Finding, ...]:
    """The findings in these files, relative to `root`, advice among them; none where the scan comes to no end."""
    if not files:
        return ()
    paths = [str(root / file) for file in files]
    command = [sys.executable, "-m", "nndoctor.probe.scanned", str(root), ",".join(sorted(ignore)), *paths]
    try:
        done = subprocess.run(command, capture_output=True, env=environment(), timeout=LONGEST_S, check=True)
    except (subprocess.SubprocessError, OSError):  # the probes have measured all the same
        return ()
    return decode_findings(done.stdout)


def _main() -> None:
    from nndoctor.requests import ScanRequest
    from nndoctor.scan.engine import scan

    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))
    root, ignored, *files = sys.argv[1:]
    request = ScanRequest(
        paths=tuple(map(Path, files)), root=Path(root), ignore=frozenset(ignored.split(",")), pedantic=True
    )
    wanted = set(request.paths)
    found = [finding for finding in scan(request).findings if finding.location and _file(finding, root) in wanted]
    print(encode_findings(found))


def _file(finding: Finding, root: str) -> Path:
    assert finding.location is not None, "asked before"
    return Path(root) / finding.location.path


if __name__ == "__main__":
    _main()
