"""Who examines the parts of a tree: nobody where the cache knows, else this process, or several at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nndoctor.errors import UserError
from nndoctor.findings import Failure, Location
from nndoctor.requests import ScanRequest
from nndoctor.scan.cache import open_cache
from nndoctor.scan.disk import Asked, Disk
from nndoctor.scan.files import reported_path
from nndoctor.scan.survey import Part
from nndoctor.scan.verdict import Examined, Verdict

if TYPE_CHECKING:
    from nndoctor.scan.pool import Died

DEBUG = "NNDOCTOR_DEBUG"  # set, errors of our own are raised
KILLED = -9  # the status of a process that was; Windows has no name for the signal

Outcome = tuple[Verdict, Asked]
Examine = Callable[[Part, ScanRequest, Disk], Outcome]

# Fewer files take less time than it takes to start processes that share them.
MIN_FILES = 16

# Bytes of source after which the cyclic collector is asked for the trees and values that no program has dropped: a
# sixth of all, so that 2 MB, some 60,000 lines, hold 60 MB.
COLLECT_BYTES = 2_000_000


def verdicts(parts: Sequence[Part], request: ScanRequest, disk: Disk, examine: Examine) -> list[Verdict]:
    """What there is to say of each part, in their order."""
    cache = open_cache(request, disk) if not os.environ.get(DEBUG) else None
    known = cache.find(parts) if cache else {}
    missing = [part for part in parts if part not in known]
    with closing(_outcomes(missing, Examiner(examine, request), request.jobs)) as outcomes:
        for part, (verdict, asked) in outcomes:
            known[part] = verdict
            if cache:
                cache.keep(part, verdict, asked)
    if cache and missing:
        cache.prune()
    return [known[part] for part in parts]


def _outcomes(parts: Sequence[Part], examiner: Examiner, jobs: int) -> Generator[tuple[Part, Outcome], None, None]:
    """What comes of each part, in any order."""
    if min(jobs, len(parts)) < 2 or sum(len(part.files) for part in parts) < MIN_FILES or os.environ.get(DEBUG):
        for part in parts:
            yield part, examiner(part)
        return
    from nndoctor.scan.pool import Died, side_by_side

    examiner.prepare()
    longest_first = sorted(parts, key=lambda part: -part.lines)
    with closing(side_by_side(examiner, longest_first, jobs)) as results:
        for part, result in results:
            yield part, examiner.lost(part, _cause(result)) if isinstance(result, Died) else result


class Examiner:
    """Examines one part after the other, and lets go of what the last ones left behind."""

    def __init__(self, examine: Examine, request: ScanRequest) -> None:
        self._examine = examine
        self._request = request
        self._disk = Disk()
        self._read = 0  # bytes since the last collection

    def __call__(self, part: Part) -> Outcome:
        if self._read > COLLECT_BYTES:
            gc.collect()
            self._read = 0
        try:
            verdict, asked = self._examine(part, self._request, self._disk)
        except UserError:
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            return self.lost(part, f"{type(error).__name__}: {error}; please report it with the file")
        self._read += asked.size
        return verdict, asked

    def lost(self, part: Part, cause: str) -> Outcome:
        """What there is to say of files that could not be examined."""
        request = self._request
        paths = [reported_path(Path(file), request.root) for file in part.files]
        message = f"this file could not be examined ({cause})"
        failures = tuple(Failure(message, None, Location(path, 1)) for path in paths)
        return Verdict(failures=failures, files=tuple(Examined(path, True, False, 0) for path in paths)), Asked()

    def prepare(self) -> None:
        """Import what an examination needs, once for all processes that are forked from this one."""
        for module in ("interpreter.run", "rules"):
            import_module(f"nndoctor.scan.{module}")


def _cause(death: Died) -> str:
    how = "was killed, perhaps for want of memory" if death.status == KILLED else f"ended with status {death.status}"
    return f"the process that was at it {how}; try it alone with --jobs 1, or exclude it"
