"""What the static pass finds in the files of a check-up, read in a process of its own that nothing can hold up.

Started as `python -m nndoctor.probe.scanned` with a pickled ScanRequest on stdin; it prints its findings as JSON.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace

from nndoctor.findings import Finding
from nndoctor.probe.environment import environment
from nndoctor.probe.messages import decode_findings, encode_findings
from nndoctor.requests import ScanRequest

# A script takes a tenth of a second of CPU and the start of the process three; research code that calls deep into
# itself takes seconds.
LONGEST_CPU_S = 10
LONGEST_S = 30.0  # on the clock, for a busy machine


def scanned(files: Collection[str], settings: ScanRequest) -> tuple[Finding, ...]:
    """The findings in these files of the root, advice among them; none where the scan comes to no end."""
    if not files:
        return ()
    request = replace(settings, paths=tuple(settings.root / file for file in files), pedantic=True)
    command = [sys.executable, "-m", "nndoctor.probe.scanned"]
    try:
        done = subprocess.run(
            command,
            input=pickle.dumps(request),
            capture_output=True,
            env=environment(),
            timeout=LONGEST_S,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):  # the probes have measured all the same
        return ()
    return decode_findings(done.stdout)


def _main() -> None:
    from nndoctor.scan.engine import scan

    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))
    request: ScanRequest = pickle.loads(sys.stdin.buffer.read())
    found = scan(request).findings
    print(
        encode_findings(each for each in found if each.location and request.root / each.location.path in request.paths)
    )


if __name__ == "__main__":
    _main()
