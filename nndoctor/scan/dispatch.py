"""Who examines the parts of a tree: nobody if the cache knows, else this process, or several at once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

from nndoctor.requests import ScanRequest
from nndoctor.scan.disk import Asked, Disk
from nndoctor.scan.survey import Part
from nndoctor.scan.verdict import Verdict

Examine = Callable[[Part, ScanRequest, Disk], tuple[Verdict, Asked]]

# Bytes of source after which the cyclic collector is asked to let go of the trees and values of parts that are done:
# 300 KB, some 9,000 lines, come to 50 MB, and to walk what is in use takes a fiftieth of the time to examine them.
COLLECT_BYTES = 300_000


def verdicts(parts: Sequence[Part], request: ScanRequest, disk: Disk, examine: Examine) -> list[Verdict]:
    """What there is to say of each part, in their order."""
    examiner = Examiner(examine, request, disk)
    return [examiner(part)[0] for part in parts]


class Examiner:
    """Examines one part after the other, and lets go of what the last ones left behind."""

    def __init__(self, examine: Examine, request: ScanRequest, disk: Disk) -> None:
        self._examine = examine
        self._request = request
        self._disk = disk
        self._read = 0  # bytes since the last collection

    def __call__(self, part: Part) -> tuple[Verdict, Asked]:
        if self._read > COLLECT_BYTES:
            gc.collect()
            self._read = 0
        verdict, asked = self._examine(part, self._request, self._disk)
        self._read += asked.size
        return verdict, asked
